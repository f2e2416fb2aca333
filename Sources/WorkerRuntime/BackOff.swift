/// Pauses between attempts: doubling from `first` up to `longest`.
package struct BackOff: Sendable {
    package var first: Duration
    package var longest: Duration

    package init(first: Duration = .milliseconds(100), longest: Duration = .seconds(10)) {
        self.first = first
        self.longest = longest
    }

    /// - Parameter failures: in a row, at least 1.
    package func pause(afterFailures failures: Int) -> Duration {
        min(longest, first * (1 << min(failures - 1, 20)))
    }
}
