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
    init(_ arguments: [String]) throws {
        process.executableURL = try Self.executable
        process.arguments = arguments
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
    static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        let standardError = Pipe()
        process.executableURL = try executable
        process.arguments = arguments
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
