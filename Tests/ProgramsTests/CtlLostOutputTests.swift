import ControlProtocol
import Foundation
import TestSupport
import Testing

/// Results that cannot be written are a failure, with its cause.
@Suite(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
struct CtlLostOutputTests {
    private let folder: URL
    private var full: String { folder.path + "/full" }

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "lost-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        FullDevice.make(full)
    }

    @Test(
        arguments: [
            ["run", "list"], ["run", "list", "-o", "json"], ["run", "list", "--watch"],
            ["run", "plot", "shakespeare", "-o", "-"], ["event", "list", "--run", "shakespeare", "--follow"],
            ["watch", "shakespeare"],
        ])
    func listings(command: [String]) throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        let call = try CtlProgram(command + ["--coordinator", coordinator.address], outputPath: full)
        #expect(call.status == 1)
        #expect(call.errors == "Error: standard output: No space left on device\n")
    }

    @Test(arguments: ["table", "json", "yaml"]) func plans(format: String) throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let loads = folder.path + "/loads.json"
        try Data("[[1, 2]]".utf8).write(to: URL(fileURLWithPath: loads))
        let call = try CtlProgram(
            ["placement", "plan", "--loads", loads, "--ranks", "2", "-o", format], outputPath: full)
        #expect(call.status == 1)
        #expect(call.errors == "Error: standard output: No space left on device\n")
    }

    /// What `-o` names and what is printed about it are two things.
    @Test func traces() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let question = ["trace", "generate", "--pattern", "zipf", "--layers", "1", "--intervals", "1", "-o"]
        let printed = try CtlProgram(question + [folder.path + "/trace.jsonl"], outputPath: full)
        #expect(printed.status == 1 && printed.errors == "Error: standard output: No space left on device\n")
        #expect(FileManager.default.fileExists(atPath: folder.path + "/trace.jsonl"))
        let written = try CtlProgram(question + [full])
        #expect(written.status == 1 && written.output.isEmpty)
        #expect(written.errors.hasPrefix("Error: \(full): it cannot be written: No space left on device"))
        #expect(FullDevice.isThere(full))
    }

    @Test func pictures() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        let call = try CtlProgram(
            ["run", "plot", "shakespeare", "-o", full, "--coordinator", coordinator.address])
        #expect(call.status == 1)
        #expect(call.errors.contains("\(full) cannot be written: No space left on device"), "\(call.errors)")
        #expect(FullDevice.isThere(full))
    }

    @Test func workers() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let inputs = try WorkerInputs()
        let generate = try ["generate", "--prompt", "abc", "--length", "5", "--model", inputs.checkpoint()]
        let dryRun = inputs.arguments() + ["--dry-run"]
        for command in [dryRun, dryRun + ["-o", "json"], generate] {
            let call = try CtlProgram(program: "moe-worker", command, outputPath: full)
            #expect(call.status == 1)
            #expect(call.errors == "moe-worker: error: standard output: No space left on device\n")
        }
    }
}
