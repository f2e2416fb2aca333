/// What ends a job, with the exit code of the process (after BSD's `sysexits.h` where it has one).
public struct WorkerError: Error, CustomStringConvertible, Sendable {
    public enum Code: Int32, Sendable {
        case failed = 1
        case usage = 64
        case coordinatorUnreachable = 69
        case refused = 77
    }

    public let code: Code
    public let description: String

    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    public static func usage(_ description: String) -> WorkerError { WorkerError(.usage, description) }
    public static func failed(_ description: String) -> WorkerError { WorkerError(.failed, description) }
}

/// Thrown on the ranks that end because of another rank's error, which that rank reports.
public struct OtherRankFailed: Error, Sendable {
    /// The lowest rank that failed, which reports why.
    public let rank: Int
    /// That rank's exit code.
    public let exitCode: Int32
}
