import Checkpoints

/// What ends a job, with the exit code of the process (after BSD's `sysexits.h` where it has one).
public struct WorkerError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: Int32, Sendable {
        case failed = 1
        case usage = 64
        case coordinatorUnreachable = 69
        /// Asked to stop, which it did after a checkpoint: `EX_TEMPFAIL`, for it can be started again to go on.
        case stopped = 75
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

    /// The exit code for an error of any type.
    static func exitCode(for error: (any Error)?) -> Int32 {
        if let error = error as? CheckpointError, error.code == .superseded { return Code.refused.rawValue }
        return (error as? WorkerError ?? .failed("")).code.rawValue
    }
}
