import MessagePassing

/// Ends the job on all ranks alike, after they agreed to: one rank says why, all exit with the same code.
public struct JobFailure: Error, CustomStringConvertible {
    /// The rank that says why.
    public let rank: Int
    /// The exit code of all ranks' processes.
    public let exitCode: Int32
    /// Why; on `rank` only.
    public let reason: (any Error)?

    public init(rank: Int, exitCode: Int32, reason: (any Error)?) {
        self.rank = rank
        self.exitCode = exitCode
        self.reason = reason
    }

    public var description: String { reason.map { "\($0)" } ?? "rank \(rank) failed" }
}

extension Communicator {
    /// Runs `body`, which may fail on some ranks only, and lets all ranks go on or none. Collective, but `body` must not be.
    ///
    /// So a bad file ends the job with one message, and no rank waits for one that has left.
    /// - Throws: `JobFailure` on all ranks, with the error of the lowest rank that failed as the reason there.
    public func agree<Result>(_ body: () throws -> Result) throws -> Result {
        let outcome = Swift.Result(catching: body)
        var failure: (any Error)?
        if case .failure(let error) = outcome { failure = error }
        // The lowest failed rank and its exit code in one number, so that one reduction tells both.
        var state = [failure == nil ? Int.max : rank << 16 | Int(WorkerError.exitCode(for: failure))]
        var span = state.mutableSpan
        try allReduce(&span, .minimum)
        if state[0] == Int.max { return try outcome.get() }
        let first = state[0] >> 16
        throw JobFailure(
            rank: first, exitCode: Int32(state[0] & 0xffff), reason: first == rank ? failure : nil)
    }

    /// Whether a condition holds on any rank. Collective.
    func isTrueAnywhere(_ condition: Bool) throws -> Bool {
        var count = [condition ? 1 : 0]
        var span = count.mutableSpan
        try allReduce(&span, .maximum)
        return count[0] > 0
    }

    /// Gives the bytes of `root` to all ranks, whatever their number.
    public func broadcast(_ bytes: [UInt8], root: Int) throws -> [UInt8] {
        var count = [bytes.count]
        var countSpan = count.mutableSpan
        try broadcast(&countSpan, root: root)
        var received = rank == root ? bytes : [UInt8](repeating: 0, count: count[0])
        var span = received.mutableSpan
        try broadcast(&span, root: root)
        return received
    }
}
