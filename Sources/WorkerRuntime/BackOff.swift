/// Pauses between attempts: doubling from `first` up to `longest`.
struct BackOff: Sendable {
    var first = Duration.milliseconds(100)
    var longest = Duration.seconds(10)

    /// - Parameter failures: in a row, at least 1.
    func pause(afterFailures failures: Int) -> Duration {
        min(longest, first * (1 << min(failures - 1, 20)))
    }
}
