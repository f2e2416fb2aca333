import ControlTestSupport
import Foundation

/// The real program in a process of its own.
final class CoordinatorProgram {
    struct DidNotStart: Error { let output: String }

    private static let readyPrefix = "moe-coordinator: listening on 127.0.0.1:"

    let process = Process()
    private let standardError = Pipe()
    private(set) var output = ""
    private(set) var port: UInt16 = 0

    /// Starts it and waits until it takes connections.
    /// - Parameter environment: what is added to this process's.
    convenience init(_ arguments: [String], environment: [String: String] = [:]) throws {
        try self.init(Self.executable, arguments, environment: environment)
    }

    /// Starts it with a file system of `bytes` bytes in `folder`, which it alone sees.
    convenience init(_ arguments: [String], smallFileSystem folder: String, bytes: Int) throws {
        let mount = #"mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@""#
        try self.init(
            Self.unshare,
            Self.ownMounts + ["sh", "-c", mount, "sh", "\(bytes)", folder, Self.executable.path] + arguments)
    }

    private static let unshare = URL(fileURLWithPath: "/usr/bin/unshare")
    private static let ownMounts = ["--user", "--map-root-user", "--mount"]

    /// Whether this machine lets users mount file systems of their own.
    static var canMount: Bool {
        let process = Process()
        process.executableURL = unshare
        process.arguments = ownMounts + ["mount", "-t", "tmpfs", "tmpfs", "/tmp"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    private init(_ executable: URL, _ arguments: [String], environment: [String: String] = [:]) throws {
        process.executableURL = executable
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardError = standardError
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        while port == 0 {
            let data = standardError.fileHandleForReading.availableData
            guard !data.isEmpty else { throw DidNotStart(output: output) }
            output += String(decoding: data, as: UTF8.self)
            for line in output.split(separator: "\n") where line.hasPrefix(Self.readyPrefix) {
                port = UInt16(line.dropFirst(Self.readyPrefix.count)) ?? 0
            }
        }
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
