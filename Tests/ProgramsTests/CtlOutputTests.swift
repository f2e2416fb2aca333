import ControlProtocol
import Foundation
import Testing

/// Every output format of every command is as recorded.
@Suite struct CtlOutputTests {
    static let commands = [
        ["run", "list"], ["run", "show", "shakespeare"], ["placement", "show", "--run", "shakespeare"],
        ["placement", "show", "--run", "shakespeare", "--layer", "2"], ["worker", "list", "--run", "shakespeare"],
    ]

    @Test(arguments: commands, ["table", "json", "yaml"])
    func output(command: [String], format: String) throws {
        // Tables tell ages, which the clock changes, but for `run show`; all else tells moments.
        let tellsAges = format == "table" && !command.starts(with: ["run", "show"])
        let samples = CtlSamples(now: tellsAges ? .now() : CtlSamples.fixedMoment)
        let coordinator = try CtlStubCoordinator(samples.answer)
        defer { coordinator.stop() }
        let call = try CtlProgram(command + ["--coordinator", coordinator.address, "-o", format])
        #expect(call.status == 0)
        #expect(call.errors.isEmpty, "\(call.errors)")
        let name = command.filter { !$0.hasPrefix("--") && $0 != "shakespeare" }.joined(separator: "-")
        try expectGolden(call.output, "output/\(name).\(format == "table" ? "txt" : format)")
    }

    @Test(arguments: [["run", "list"], ["worker", "list"]])
    func emptyListsSaySo(command: [String]) throws {
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .listRuns = request {
                Runs(runs: [], truncated: false)
            } else {
                Workers(workers: [], truncated: false)
            }
        }
        defer { coordinator.stop() }
        let call = try CtlProgram(command + ["--coordinator", coordinator.address])
        #expect(call.status == 0)
        #expect(call.output == "no \(command[0])s\n")
    }

    /// What programs read is exact.
    @Test func jsonIsTheProtocols() throws {
        let samples = CtlSamples(now: CtlSamples.fixedMoment)
        let coordinator = try CtlStubCoordinator(samples.answer)
        defer { coordinator.stop() }
        let call = try CtlProgram(["run", "list", "-o", "json"], environment: ["MOE_COORDINATOR": coordinator.address])
        let reply = try JSONDecoder().decode(Runs.self, from: Data(call.output.utf8))
        #expect(reply.runs == samples.runs)
    }

    @Test(arguments: ["table", "json", "yaml"])
    func dataPrepare(format: String) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("prepare-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let files = ["one", "two"].map { directory.appendingPathComponent($0).path }
        for file in files { try Data("to be or not to be\n".utf8).write(to: URL(fileURLWithPath: file)) }
        let output = directory.appendingPathComponent("data").path
        let call = try CtlProgram(
            ["data", "prepare"] + files
                + ["--output", output, "--tokenizer", "characters", "--validation-fraction", "0.25", "-o", format])
        #expect(call.status == 0)
        #expect(call.errors.isEmpty, "\(call.errors)")
        try expectGolden(call.output, "output/data-prepare.\(format == "table" ? "txt" : format)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: output).sorted()
                == ["meta.json", "train.bin", "val.bin"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: output + "/train.bin")).count == 2 * 28)
    }
}
