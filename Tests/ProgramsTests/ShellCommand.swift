import Foundation

/// A finished command.
struct ShellCommand {
    let status: Int32
    /// What it wrote, errors as well.
    let output: String

    /// - Parameters:
    ///   - command: looked for as a shell does.
    ///   - environment: all of it; nil: ours.
    ///   - directory: nil: ours.
    init(_ command: [String], environment: [String: String]? = nil, directory: URL? = nil) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        if let environment { process.environment = environment }
        if let directory { process.currentDirectoryURL = directory }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try RunningProgram.withoutBlockedSignals { try process.run() }
        output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        status = process.terminationStatus
    }

    /// Whether there are all of `programs`.
    static func missing(_ programs: String...) -> [String] {
        programs.filter { (try? ShellCommand(["sh", "-c", "command -v \($0)"]))?.status != 0 }
    }
}
