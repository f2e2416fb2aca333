import Foundation

/// A program of this package that runs beside the test, and what it prints, line by line.
final class RunningProgram {
    private let process = Process()
    private let output: FileHandle
    private var pending = Data()
    /// All that was read so far.
    private(set) var text = ""

    var processIdentifier: Int32 { process.processIdentifier }

    /// - Parameters:
    ///   - program: an executable of this package, which is built beside the tests.
    ///   - ranks: under `mpirun` with so many; nil: alone.
    ///   - timeLimitSeconds: after which `mpirun` ends the job with an error.
    ///   - launcher: a command that starts the program, with what of it comes before the program's name.
    ///   - onTerminal: gives it a pseudo-terminal.
    ///   - variables: added to the environment.
    convenience init(
        _ program: String, _ arguments: [String], ranks: Int? = nil, timeLimitSeconds: Int = 300,
        launcher: [String] = [], onTerminal: Bool = false, variables: [String: String] = [:]
    ) throws {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let executable = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(program).path
        let mpirun = ranks.map {
            ["mpirun", "-n", "\($0)", "--oversubscribe", "--bind-to", "none", "--timeout", "\(timeLimitSeconds)"]
        }
        let command = (mpirun ?? []) + launcher + [executable] + arguments
        try self.init(
            command: onTerminal
                ? ["script", "-qec", command.map { "'\($0)'" }.joined(separator: " "), "/dev/null"] : command,
            variables: variables)
    }

    /// - Parameter command: a program on the path, and its arguments.
    init(command: [String], variables: [String: String] = [:]) throws {
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        // `MOE_SEED` of the tests is none of the programs'.
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MOE_") }
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        // More ranks than cores: let waiting ranks give way.
        environment["OMPI_MCA_mpi_yield_when_idle"] = "1"
        process.environment = environment.merging(variables) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        output = pipe.fileHandleForReading
        try Self.withoutBlockedSignals { try process.run() }
    }

    /// A program inherits the signals that the calling thread holds back: all, on a thread of Swift's pool. It could not be
    /// asked to end.
    static func withoutBlockedSignals(_ body: () throws -> Void) rethrows {
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    /// The next line, without its end; nil when the program has closed its output. Waits for it.
    func nextLine() -> String? {
        while true {
            if let end = pending.firstIndex(of: 0x0a) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending = Data(pending[(end + 1)...])
                text += line + "\n"
                return line
            }
            let more = output.availableData
            guard !more.isEmpty else { return nil }
            pending += more
        }
    }

    /// Reads up to a line that has `prefix`, and gives what follows it there; nil when there is none.
    func readLine(after prefix: String) -> String? {
        while let line = nextLine() {
            if line.hasPrefix(prefix) { return String(line.dropFirst(prefix.count)) }
        }
        return nil
    }

    /// As `readLine(after:)`, among the lines that were read already.
    func pastLine(after prefix: String) -> String? {
        text.split(separator: "\n").first { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }

    /// Reads up to a line that contains `text`; nil when there is none.
    func readLine(containing text: String) -> String? {
        while let line = nextLine() {
            if line.contains(text) { return line }
        }
        return nil
    }

    /// Reads to the end. Returns the exit code.
    func waitForEnd() -> Int32 {
        while nextLine() != nil {}
        process.waitUntilExit()
        return process.terminationStatus
    }

    var isRunning: Bool { process.isRunning }

    /// Whether `mpirun` has ended the job because it took too long.
    var hasTimedOut: Bool { text.contains("user-provided time limit") }

    func send(_ signal: Int32) {
        if process.isRunning { kill(processIdentifier, signal) }
    }

    /// Asks the program to end.
    func terminate() {
        if process.isRunning { process.terminate() }
    }
}
