import ControlTestSupport
import Foundation

/// The real program in a process of its own.
final class CoordinatorProgram {
    struct DidNotStart: Error { let output: String }

    private static let readyText = "listening on 127.0.0.1:"
    private static let healthText = "health on http://127.0.0.1:"

    let process = Process()
    private let standardError = Pipe()
    private(set) var output = ""
    private(set) var port: UInt16 = 0
    /// 0 when it does not tell its health over HTTP.
    private(set) var httpPort: UInt16 = 0

    /// Starts it and waits until it takes connections.
    /// - Parameters:
    ///   - launcher: a program that becomes it, with its arguments.
    ///   - environment: what is added to this process's.
    init(_ arguments: [String], launcher: [String] = [], environment: [String: String] = [:]) throws {
        let command = launcher + [try Self.executable.path] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardError = standardError
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        while port == 0 {
            let data = standardError.fileHandleForReading.availableData
            guard !data.isEmpty else { throw DidNotStart(output: output) }
            output += String(decoding: data, as: UTF8.self)
            // The last line may not be whole yet.
            for line in output.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
                port = Self.number(after: Self.readyText, in: line) ?? port
                httpPort = Self.number(after: Self.healthText, in: line) ?? httpPort
            }
        }
    }

    /// - Parameter line: in words or in JSON.
    private static func number(after text: String, in line: Substring) -> UInt16? {
        line.range(of: text).flatMap { UInt16(line[$0.upperBound...].prefix(while: \.isNumber)) }
    }

    /// All that it wrote, once it has ended.
    func restOfOutput() -> String {
        output += String(decoding: standardError.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        return output
    }

    /// Starts it with a file system of `bytes` bytes in `folder`, which it alone sees.
    convenience init(_ arguments: [String], smallFileSystem folder: String, bytes: Int) throws {
        let mount = #"mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@""#
        try self.init(
            arguments, launcher: Self.ownMounts + ["sh", "-c", mount, "sh", "\(bytes)", folder])
    }

    private static let ownMounts = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount"]

    /// Whether this machine lets users mount file systems of their own.
    static var canMount: Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ownMounts[0])
        process.arguments = ownMounts.dropFirst() + ["mount", "-t", "tmpfs", "tmpfs", "/tmp"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    func end(_ signal: Int32) -> (status: Int32, reason: Process.TerminationReason) {
        kill(process.processIdentifier, signal)
        return end()
    }

    /// Waits until it ends by itself.
    func end() -> (status: Int32, reason: Process.TerminationReason) {
        process.waitUntilExit()
        return (process.terminationStatus, process.terminationReason)
    }

    var residentBytes: Int {
        get throws {
            let fields = try String(contentsOfFile: "/proc/\(process.processIdentifier)/statm", encoding: .utf8)
                .split(separator: " ")
            return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * sysconf(Int32(_SC_PAGESIZE))
        }
    }

    /// Runs it to its end.
    /// - Parameter fileBytes: to which its files may grow, a multiple of 512; nil: they may.
    static func run(_ arguments: [String], fileBytes: Int? = nil) throws -> (status: Int32, output: String) {
        let process = Process()
        let standardError = Pipe()
        process.executableURL = try executable
        process.arguments = arguments
        if let fileBytes {
            // A write fails then, without a signal that ends the process.
            let limited = #"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            process.arguments = ["-c", limited, "sh", "\(fileBytes / 512)", try executable.path] + arguments
        }
        process.standardError = standardError
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let output = String(decoding: standardError.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    /// Tests and programs share one build folder.
    private static var executable: URL {
        get throws {
            let folder = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            return URL(fileURLWithPath: folder).deletingLastPathComponent().appending(path: "moe-coordinator")
        }
    }
}
