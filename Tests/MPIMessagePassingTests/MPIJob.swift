import Foundation

/// Runs a program of this package under `mpirun` on this machine.
struct MPIJob {
    let output: String
    let exitStatus: Int32
    /// Whether `mpirun` has ended the job because it took too long.
    var hasTimedOut: Bool { output.contains("user-provided time limit") }

    /// - Parameters:
    ///   - program: name of an executable of this package, which is built beside the tests.
    ///   - timeLimitSeconds: after which `mpirun` ends the job with an error.
    init(_ program: String, _ arguments: [String], ranks: Int, timeLimitSeconds: Int = 120) throws {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let executable = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(program)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["mpirun", "-n", "\(ranks)", "--oversubscribe", "--timeout", "\(timeLimitSeconds)", executable.path]
            + arguments
        var environment = ProcessInfo.processInfo.environment
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        // More ranks than cores: let waiting ranks give way.
        environment["OMPI_MCA_mpi_yield_when_idle"] = "1"
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        output = String(decoding: data, as: UTF8.self)
        exitStatus = process.terminationStatus
    }
}
