/// Reports that found no room: each is counted, and the log hears of the first of many and of their number in the end.
struct RefusedReports {
    private(set) var count = 0
    /// How many of them the log has not told yet.
    private var untold = 0

    /// - Returns: whether the log has to say that there are some.
    mutating func add(_ reports: Int = 1) -> Bool {
        defer { untold += reports }
        count += reports
        return untold == 0
    }

    /// There is room again.
    /// - Returns: how many there were meanwhile; nil: none.
    mutating func takeUntold() -> Int? {
        defer { untold = 0 }
        return untold > 0 ? untold : nil
    }
}
