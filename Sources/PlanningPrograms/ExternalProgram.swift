import Foundation

/// A program that is given bytes on its standard input and answers with bytes on its standard output.
///
/// It runs in a process group of its own, which is ended as a whole: when the program has exited, and when it takes too long
/// or writes too much. It inherits the environment and the working directory, but no file or socket.
struct ExternalProgram: Hashable, Sendable {
    /// The program, looked for in `PATH` unless it has a slash, and its arguments.
    var command: [String]
    var timeLimit: Duration
    /// Bytes on standard output over which it is ended.
    var outputLimit: Int
    /// Bytes from the end of standard error that errors tell: with what is said before them no more than an event holds
    /// (`Limits.reasonBytes`), which would lose the last line, the one that tells why.
    var errorTail = 800

    /// How often a program that neither writes nor closes its output is looked at.
    private static let look = Duration.milliseconds(20)

    /// Runs it to its end, on the calling thread.
    /// - Parameter cancellation: ends it early.
    /// - Returns: what it wrote to standard output before it exited with 0.
    func run(_ input: Data, cancellation: PlanningCancellation) throws(ExternalProgramError) -> Data {
        if cancellation.isCancelled { throw ExternalProgramError(.cancelled) }
        let process = try SpawnedProcess(command, input: input)
        defer { process.end() }
        let deadline = SuspendingClock.now + timeLimit
        var output = Data()
        var errors = Data()
        var reason: ExternalProgramError.Reason?
        while true {
            // Before reading, so that all that it wrote is read before its end is believed.
            let hasExited = process.hasExited
            if hasExited { process.endGroup() }
            process.waitForOutput(hasExited ? .zero : Self.look)
            let isWriting = process.read(into: &output, &errors)
            errors = Data(errors.suffix(errorTail))
            if output.count > outputLimit {
                reason = .tooMuchOutput(limit: outputLimit)
            } else if cancellation.isCancelled {
                reason = .cancelled
            } else if SuspendingClock.now >= deadline {
                reason = .timeLimit(timeLimit)
            }
            if reason != nil || (hasExited && !isWriting) { break }
        }
        let status = process.end()
        if reason == nil, status != .exited(0) { reason = .failed(status) }
        if let reason { throw ExternalProgramError(reason, standardError: String(decoding: errors, as: UTF8.self)) }
        return output
    }
}

/// How a process ended.
enum ExitStatus: Hashable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)
}

/// Why a program gave no answer.
struct ExternalProgramError: Error, Hashable, Sendable, CustomStringConvertible {
    enum Reason: Hashable, Sendable {
        /// It could not be started.
        case notStarted(String)
        case timeLimit(Duration)
        case tooMuchOutput(limit: Int)
        case failed(ExitStatus)
        /// The coordinator is ending.
        case cancelled
    }

    let reason: Reason
    /// The end of what it wrote there.
    let standardError: String

    init(_ reason: Reason, standardError: String = "") {
        self.reason = reason
        self.standardError = standardError
    }

    var description: String {
        let what =
            switch reason {
            case .notStarted(let why): "it could not be started: \(why)"
            case .timeLimit(let limit):
                "it did not end within \(limit / .seconds(1)) seconds and was ended; make it faster or raise "
                    + "time_limit_seconds"
            case .tooMuchOutput(let limit): "it wrote more than \(limit) bytes and was ended"
            case .failed(.exited(let code)): "it exited with \(code)"
            case .failed(.killed(let signal)): "it was ended by signal \(signal)"
            case .cancelled: "the coordinator is ending"
            }
        let tail = standardError.trimmingCharacters(in: .whitespacesAndNewlines)
        return tail.isEmpty ? what : "\(what); it wrote: \(tail)"
    }
}
