import ControlProtocol
import Foundation

/// A server under test, beside this program in the build folder.
final class ServerProcess {
    let port: UInt16
    /// What connections are encrypted with; nil: they are not.
    let key: ControlKey?
    private let process = Process()

    static func echo(keyFile: String?) throws -> ServerProcess {
        try ServerProcess("coordinator-benchmark", ["echo"], keyFile)
    }

    static func coordinator(_ folder: URL, keyFile: String?) throws -> ServerProcess {
        let database = folder.appending(path: "moe.db").path
        return try ServerProcess(
            "moe-coordinator", ["serve", "--database", database, "--listen", "127.0.0.1:0", "--http", "none"], keyFile)
    }

    private init(_ name: String, _ arguments: [String], _ keyFile: String?) throws {
        key = try keyFile.map { try ControlKey(file: $0) }
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        process.executableURL = URL(fileURLWithPath: own).deletingLastPathComponent().appending(path: name)
        process.arguments = arguments + (keyFile.map { ["--key-file", $0] } ?? [])
        let pipe = Pipe()
        process.standardError = pipe
        try process.run()
        var output = ""
        while !output.contains("listening on") || !output.hasSuffix("\n") {
            let data = pipe.fileHandleForReading.availableData
            guard !data.isEmpty else { throw BenchmarkError("\(name) did not start: \(output)") }
            output += String(decoding: data, as: UTF8.self)
        }
        port = UInt16(output.dropLast().split(separator: ":").last ?? "") ?? 0
        // What it complains about later is for whoever measures.
        pipe.fileHandleForReading.readabilityHandler = { pipe in
            let data = pipe.availableData
            if data.isEmpty { pipe.readabilityHandler = nil } else { FileHandle.standardError.write(data) }
        }
    }

    deinit { kill() }

    func kill() {
        guard process.isRunning else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    var residentBytes: Int { status("VmRSS:") }
    /// The most there were so far.
    var peakBytes: Int { status("VmHWM:") }

    private func status(_ key: String) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(key) }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) * 1_024
    }
}
