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
