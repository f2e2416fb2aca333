import ControlProtocol
import ExpertPlacement
import Foundation
import Testing

/// `moe-worker` under `mpirun`, with the other programs.
@Suite(.serialized) struct WorkerTrainingTests {
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    @Test func trainsReportsAndGenerates() throws {
        let coordinator = try RunningProgram(
            "moe-coordinator", ["serve", "--database", inputs.path("moe.db"), "--listen", "127.0.0.1:0"])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")

        let job = try RunningProgram(
            "moe-worker",
            inputs.arguments([
                "--steps": "20", "--log-interval": "10", "--report-interval": "5", "--coordinator": address,
                "--run": "small",
                "--allocator": "expert-parallel", "--optimizer-placement": "decoupled",
                "--metrics": inputs.path("metrics.jsonl"),
                "--checkpoint-directory": inputs.path("checkpoints"),
            ]), ranks: 2)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        #expect(
            job.text.contains("placement revision 1 from the coordinator at \(address), incarnation 1"), "\(job.text)")
        #expect(job.text.contains("\nstep 20/20  loss "), "\(job.text)")
        // mpirun gives ranks a pseudo-terminal, but its own output is none.
        #expect(!job.text.contains("\u{1b}"))
        let metrics = try String(contentsOfFile: inputs.path("metrics.jsonl"), encoding: .utf8)
        #expect(metrics.split(separator: "\n").count == 20)

        let variables = ["MOE_COORDINATOR": address]
        let placement = try CtlProgram(["placement", "show", "--run", "small", "-o", "json"], environment: variables)
        let plan = try JSONDecoder().decode(Placement.self, from: Data(placement.output.utf8)).plan
        #expect(plan.revision == 1)
        for layer in plan.layers { #expect(layer.experts.map(\.mesh.ranks) == [[0], [1], [0], [1]]) }
        let list = try CtlProgram(["worker", "list", "--run", "small", "-o", "json"], environment: variables)
        let workers = try JSONDecoder().decode(Workers.self, from: Data(list.output.utf8)).workers
        #expect(workers.map(\.rank) == [0, 1])
        #expect(workers.allSatisfy { $0.step == 20 })
        let shown = try CtlProgram(["run", "show", "small", "-o", "json"], environment: variables)
        let run = try JSONDecoder().decode(RunShown.self, from: Data(shown.output.utf8))
        #expect(run.summary.state == .completed)
        // After steps 2, 5, 10, 15 and 20; from each rank.
        #expect(run.storedReports == 10)
        coordinator.terminate()
        #expect(coordinator.waitForEnd() == 0, "\(coordinator.text)")

        let generate = [
            "generate", "--model", inputs.path("checkpoints/step-20"), "--prompt", "abc", "--length", "30",
        ]
        let together = try RunningProgram("moe-worker", generate, ranks: 2)
        #expect(together.waitForEnd() == 0, "\(together.text)")
        let alone = try RunningProgram("moe-worker", generate)
        #expect(alone.waitForEnd() == 0, "\(alone.text)")
        #expect(alone.text.hasPrefix("abc"))
        #expect(alone.text == together.text)
    }

    /// Attention on a mesh of ranks learns as that of one process; its checkpoints are whole, and go on elsewhere.
    /// A Mixtral, and a model with a dense layer and shared experts.
    @Test(arguments: [false, true]) func trainsOnAMesh(hasNetworks: Bool) throws {
        if hasNetworks {
            let file = inputs.folder.appending(path: "config.json")
            let fields = #"""
                "model_type": "qwen2_moe", "num_experts": 4, "moe_intermediate_size": 9, "mlp_only_layers": [0],
                "shared_expert_intermediate_size": 11
                """#
            try String(contentsOf: file, encoding: .utf8)
                .replacing(#""model_type": "mixtral""#, with: fields).replacing(#""num_local_experts": 4,"#, with: "")
                .write(to: file, atomically: true, encoding: .utf8)
        }
        func train(ranks: Int, _ name: String, _ changes: [String: String?]) throws -> [Double] {
            let job = try RunningProgram(
                "moe-worker",
                inputs.arguments(["--steps": "8", "--metrics": inputs.path(name)].merging(changes) { $1 }), ranks: ranks
            )
            #expect(job.waitForEnd() == 0, "\(job.text)")
            return inputs.losses(name).map(\.loss)
        }
        let expected = try train(ranks: 1, "alone.jsonl", [:])
        #expect(expected.count == 8)
        for (ranks, mesh) in [
            (2, ["--dp": "1", "--tp": "2"]), (4, ["--dp": "2", "--tp": "2", "--recompute": "full"]),
        ] where ranks == 4 || !hasNetworks {
            let checkpoints = inputs.path("checkpoints-\(ranks)")
            let losses = try train(
                ranks: ranks, "\(ranks).jsonl",
                mesh.merging(["--checkpoint-directory": checkpoints, "--checkpoint-interval": "4"]) { $1 })
            #expect(losses.count == 8)
            for (loss, expected) in zip(losses, expected) { #expect(abs(loss - expected) < 1e-3, "\(losses)") }
            let exported = inputs.path("exported-\(ranks)")
            let export = try CtlProgram(["checkpoint", "export", "\(checkpoints)/step-4", exported])
            #expect(export.status == 0, "\(export.errors)")
            // From the middle on, on the other number of ranks without a mesh.
            try FileManager.default.removeItem(atPath: "\(checkpoints)/step-8")
            let rest = try train(
                ranks: ranks == 2 ? 4 : 2, "rest-\(ranks).jsonl", ["--checkpoint-directory": checkpoints])
            #expect(rest.count == 4)
            for (loss, expected) in zip(rest, expected.suffix(4)) { #expect(abs(loss - expected) < 1e-3, "\(rest)") }
            let text = try RunningProgram("moe-worker", ["generate", "--model", exported, "--length", "5"])
            #expect(text.waitForEnd() == 0, "\(text.text)")
        }
    }

    @Test func startsWithoutALauncher() throws {
        let job = try RunningProgram("moe-worker", inputs.arguments(["--rank": "0", "--world-size": "1"]))
        #expect(job.waitForEnd() == 0, "\(job.text)")
        #expect(job.text.contains("; 1 rank, 1 thread a rank"), "\(job.text)")
    }

    /// The live line is for people; `script` gives its command a pseudo-terminal.
    @Test(arguments: [false, true]) func terminalGetsALiveLine(underMPIRun: Bool) throws {
        let job = try RunningProgram(
            "moe-worker", inputs.arguments(["--log-interval": "100", "--steps": "6"]), ranks: underMPIRun ? 2 : nil,
            onTerminal: true)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        // Steps 1 and 6 stay; those between renew the line.
        #expect(job.text.components(separatedBy: "\r\u{1b}[Kstep ").count == 6, "\(job.text.debugDescription)")
    }
}
