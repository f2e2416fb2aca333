import ControlTestSupport
import Foundation
import TestSupport
import Testing

/// Jobs of two ranks whose experts move, that are killed and started again.
@Suite(.serialized) struct ReplayProgramsTests {
    private let inputs: WorkerInputs
    private var log: String { inputs.path("placements.jsonl") }

    init() throws {
        inputs = try WorkerInputs()
        try inputs.skewLoads()
    }

    private func job(steps: Int, _ changes: [String: String?]) throws -> RunningProgram {
        let own: [String: String?] = [
            "--steps": "\(steps)", "--batch-size": "32", "--sequence-length": "16",
            "--learning-rate": "0.001", "--report-interval": "4",
            "--allocator": "load-balanced:shapes=replicas,margin=0,minimum-gain=0,life=1000000",
            "--migration-budget": "1",
        ]
        return try RunningProgram(
            "moe-worker", inputs.arguments(own.merging(changes) { $1 }), ranks: 2, timeLimitSeconds: 120)
    }

    private func recorded(steps: Int) throws -> RunningProgram {
        try job(
            steps: steps,
            [
                "--placement-log": log, "--metrics": inputs.path("metrics.jsonl"),
                "--checkpoint-directory": inputs.path("checkpoints"), "--checkpoint-interval": "5",
            ])
    }

    /// The loss of each step; what is said last counts.
    private func losses(_ name: String) -> [Int: Double] {
        Dictionary(inputs.losses(name).map { ($0.step, $0.loss) }, uniquingKeysWith: { $1 })
    }

    /// Switches of some layers that the log has.
    private func switches() -> Int {
        guard let text = try? String(contentsOfFile: log, encoding: .utf8) else { return 0 }
        return text.split(separator: "\n").count { !$0.contains("\"layers\":[0,1]") }
    }

    /// Ranks are killed at random steps, and while experts move, until the job is through. With the log of its placements
    /// replayed, a run that nobody disturbs has the same losses, bit by bit.
    @Test func ranksAreKilledAndTheLogIsReplayed() throws {
        var random = SeededGenerator(seed: TestRuns.seed())
        var last = 0
        for round in 0..<TestRuns.count(4, soak: 40) {
            let running = try recorded(steps: 100_000)
            defer { running.terminate() }
            let known = switches()
            let target = last + Int.random(in: 6...25, using: &random)
            // Every other time when a layer has just moved, and others of its plan may be about to.
            var step = 0
            while let line = running.nextLine() {
                let word = line.split(separator: " ").dropFirst().first?.split(separator: "/").first
                if line.contains("  loss "), let word, let number = Int(word) { step = number }
                let isMoving = round % 2 == 1 && switches() > known
                if step >= target, isMoving || round % 2 == 0 || step > target + 500 { break }
            }
            try #require(step > 0, "\(running.text)")
            usleep(UInt32.random(in: 0...10_000, using: &random))
            let victim = try #require(
                ProcessTable.children(of: running.processIdentifier).randomElement(using: &random), "\(running.text)")
            kill(victim, SIGKILL)
            #expect(running.waitForEnd() != 0, "round \(round)")
            last = step
        }
        let steps = last + 30
        let end = try recorded(steps: steps)
        #expect(end.waitForEnd() == 0, "\(end.text)")
        #expect(switches() > 0, "nothing moved")

        let replay = try job(
            steps: steps, ["--placement-replay": log, "--metrics": inputs.path("replayed.jsonl")])
        #expect(replay.waitForEnd() == 0, "\(replay.text)")
        let (expected, found) = (losses("replayed.jsonl"), losses("metrics.jsonl"))
        #expect(Set(found.keys).isSuperset(of: 1...steps) && Set(expected.keys) == Set(1...steps))
        for step in 1...steps { #expect(found[step] == expected[step], "step \(step)") }
    }
}
