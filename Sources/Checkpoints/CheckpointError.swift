import Foundation

/// Why a checkpoint cannot be read or written: the file or directory, and the cause.
public struct CheckpointError: Error, Equatable, CustomStringConvertible {
    public enum Code: Sendable {
        /// The operating system's reason.
        case system
        /// What is there is not what was written.
        case damaged
        /// It belongs to another run, or to another version of this program.
        case unsuitable
        /// Another incarnation of the run has begun here since.
        case superseded
        /// Another process holds the directory's lock.
        case locked
    }

    public let code: Code
    public let path: String
    public let reason: String

    public init(_ code: Code, _ path: String, _ reason: String) {
        self.code = code
        self.path = path
        self.reason = reason
    }

    /// With the system's reason for the call that just failed.
    static func system(_ path: String, _ number: Int32 = errno) -> CheckpointError {
        CheckpointError(.system, path, String(cString: strerror(number)))
    }

    public var description: String { "\(path): \(reason)" }
}
