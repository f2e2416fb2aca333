import Foundation

/// A finished call of `moe-ctl`.
struct CtlProgram {
    let status: Int32
    let output: String
    let errors: String

    /// Runs the `moe-ctl` that is built beside the tests.
    /// - Parameters:
    ///   - program: or another that is built there.
    ///   - environment: is added to an environment without any of the project's variables.
    ///   - outputPath: what is there gets the output; nil: `output` has it.
    init(
        program: String = "moe-ctl", _ arguments: [String], environment: [String: String] = [:],
        outputPath: String? = nil
    ) throws {
        let process = Process()
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        process.executableURL = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(program)
        process.arguments = arguments
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MOE_") }
        // Help pages are as wide as the terminal.
        variables["COLUMNS"] = "80"
        // The user's own configuration is not meant.
        if environment["XDG_CONFIG_HOME"] == nil { variables["MOE_CTL_CONFIG"] = "" }
        process.environment = variables.merging(environment) { $1 }
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("ctl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        // Files, since a pipe that nobody reads fills up.
        let files = ["output", "errors"].map { directory.appendingPathComponent($0) }
        for file in files { try Data().write(to: file) }
        process.standardOutput = try FileHandle(forWritingTo: outputPath.map { URL(fileURLWithPath: $0) } ?? files[0])
        process.standardError = try FileHandle(forWritingTo: files[1])
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        status = process.terminationStatus
        output = try String(contentsOf: files[0], encoding: .utf8)
        errors = try String(contentsOf: files[1], encoding: .utf8)
    }
}
