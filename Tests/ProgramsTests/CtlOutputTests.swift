import ControlProtocol
import ExpertPlacement
import Foundation
import Testing

/// Every output format of every command is as recorded.
@Suite struct CtlOutputTests {
    static let commands =
        [
            ["run", "list"], ["run", "list", "--all"], ["run", "show", "shakespeare"],
            ["run", "archive", "first-try"], ["run", "delete", "first-try"],
            ["run", "delete", "first-try", "--dry-run"],
            ["database", "backup", "monday.db"], ["database", "backup", "monday.db", "--dry-run"],
            ["worker", "list", "--run", "shakespeare"], ["checkpoint", "list", "--run", "shakespeare"],
            ["event", "list", "--run", "shakespeare"], ["event", "list", "--limit", "1", "--run", "shakespeare"],
        ] + placementCommands.map { ["placement"] + $0 + ["--run", "shakespeare"] }

    private static let placementCommands = [
        ["show"], ["show", "--layer", "2"], ["show", "--revision", "2"], ["history"], ["history", "--limit", "1"],
        ["diff"], ["rollback", "--dry-run"], ["rollback", "1"], ["plan", "--dry-run"], ["pin", "1:0-1", "2:3"],
        ["unpin", "0-1:1-3", "--dry-run"], ["freeze"], ["unfreeze"],
    ]

    @Test(arguments: commands, ["table", "json", "yaml"])
    func output(command: [String], format: String) throws {
        // Tables tell ages, which the clock changes, but for these; all else tells moments.
        let tellsMoments = [["run", "show"], ["run", "archive"], ["event", "list"]].contains {
            command.starts(with: $0)
        }
        let tellsAges = format == "table" && !tellsMoments
        let samples = CtlSamples(now: tellsAges ? .now() : CtlSamples.fixedMoment)
        let coordinator = try CtlStubCoordinator(samples.answer)
        defer { coordinator.stop() }
        let call = try CtlProgram(command + ["--coordinator", coordinator.address, "-o", format])
        #expect(call.status == 0)
        #expect(call.errors.isEmpty, "\(call.errors)")
        let words = command.filter { !["--run", "--layer", "shakespeare"].contains($0) }
        let name = words.map { ($0.hasPrefix("--") ? $0.dropFirst(2) : $0[...]).replacing(":", with: ".") }
            .joined(separator: "-")
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

    /// A tokenizer is learned, and taken from its file and from its directory.
    @Test func dataPrepareWithBytePairs() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("prepare-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let text = directory.appendingPathComponent("text").path
        try Data(String(repeating: "to be or not to be\n", count: 20).utf8).write(to: URL(fileURLWithPath: text))
        func prepare(_ arguments: [String], to name: String) throws -> Data {
            let output = directory.appendingPathComponent(name).path
            let call = try CtlProgram(["data", "prepare", text, "--output", output] + arguments)
            #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
            if name == "learned" { try expectGolden(call.output, "output/data-prepare-bpe.txt") }
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: output).sorted()
                    == ["meta.json", "tokenizer.json", "train.bin", "val.bin"])
            return try Data(contentsOf: URL(fileURLWithPath: output + "/train.bin"))
        }
        let learned = try prepare(
            ["--tokenizer", "bpe", "--vocabulary-size", "262", "--minimum-frequency", "2"], to: "learned")
        let file = directory.appendingPathComponent("learned/tokenizer.json").path
        #expect(try prepare(["--tokenizer", file, "--add-special-tokens"], to: "from-file") == learned)
        #expect(
            try prepare(["--tokenizer", directory.appendingPathComponent("learned").path], to: "from-directory")
                == learned)
    }

    @Test(arguments: ["table", "json", "yaml"])
    func placementApply(format: String) throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: CtlSamples.fixedMoment).answer)
        defer { coordinator.stop() }
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("plan-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try JSONEncoder().encode(CtlSamples(now: .now()).planBefore()).write(to: file)
        let call = try CtlProgram([
            "placement", "apply", file.path, "--run", "shakespeare", "--dry-run", "--why", "a drill", "--coordinator",
            coordinator.address, "-o", format,
        ])
        #expect(call.status == 0)
        #expect(call.errors.isEmpty, "\(call.errors)")
        try expectGolden(call.output, "output/placement-apply-dry-run.\(format == "table" ? "txt" : format)")
    }

    /// What one command prints, `placement apply` takes.
    @Test(arguments: ["json", "yaml"], [["show"], ["show", "--revision", "2"], ["plan", "--dry-run"]])
    func plansThatArePrintedAreTaken(format: String, command: [String]) throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: CtlSamples.fixedMoment).answer)
        defer { coordinator.stop() }
        let run = ["--run", "shakespeare", "--coordinator", coordinator.address]
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("plan-\(UUID().uuidString).\(format)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(CtlProgram(["placement"] + command + run + ["-o", format]).output.utf8).write(to: file)
        let call = try CtlProgram(["placement", "apply", file.path, "-o", "json"] + run)
        let reply = try JSONDecoder().decode(PlacementProposed.self, from: Data(call.output.utf8))
        let sample = CtlSamples(now: .now())
        let expected = try command == ["show"] ? sample.placement().plan : sample.planBefore()
        #expect(reply.plan == expected, "\(call.errors)")
        #expect(reply.revision == 6)
    }

    /// Optimizer state is where the run keeps it: here spread over all ranks, whatever the plan.
    @Test func decoupledStateIsSpread() throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            guard case .showRun = request else { return try samples.answer(request) }
            var shown = samples.shown
            shown.ownership = .decoupled
            return shown
        }
        defer { coordinator.stop() }
        let arguments = ["placement", "show", "--run", "shakespeare", "--coordinator", coordinator.address]
        try expectGolden(CtlProgram(arguments).output, "output/placement-show-decoupled.txt")
        struct Report: Decodable {
            struct Rank: Decodable { var ownedNeurons: Int }
            var ranks: [Rank]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        for (layers, options) in [(3, []), (1, ["--layer", "2"])] {
            let json = try CtlProgram(arguments + options + ["-o", "json"]).output
            let owned = try decoder.decode(Report.self, from: Data(json.utf8)).ranks.map(\.ownedNeurons)
            #expect(owned.reduce(0, +) == layers * (3 * 256 + 257))
            #expect(owned.allSatisfy { (layers * 256...layers * 256 + layers).contains($0) }, "\(owned)")
        }
    }
}
