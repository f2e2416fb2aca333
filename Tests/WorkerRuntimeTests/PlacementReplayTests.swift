import Checkpoints
import Foundation
import MessagePassing
import Testing
import WorkerRuntime

/// The log of one run's placements gives another run the same bits.
@Suite struct PlacementReplayTests {
    private let fixture: TrainingFixture
    private var log: String { fixture.path("placements.jsonl") }

    init() throws { fixture = try TrainingFixture() }

    /// Experts move as often as can be, a layer at a time.
    private static func moving(_ options: inout TrainingOptions) {
        options.allocator = "load-balanced:shapes=replicas,margin=0,minimum-gain=0,life=1000000"
        options.reportInterval = 3
        options.migrationBudgetBytes = 1
        options.batchSize = 24
        options.schedule.steps = 200
    }

    private func train(
        worldSize: Int = 2, steps: Int, change: (inout TrainingOptions) -> Void
    ) throws -> [StepMetrics] {
        try fixture.train(worldSize: worldSize, steps: steps) { options in
            Self.moving(&options)
            change(&options)
        }
    }

    private func lines() throws -> [Substring] {
        try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    }

    private func expectSame(_ replayed: [StepMetrics], _ recorded: [StepMetrics]) {
        #expect(replayed.map(\.step) == recorded.map(\.step))
        #expect(replayed.map(\.planRevision) == recorded.map(\.planRevision))
        #expect(replayed.map(\.loss) == recorded.map(\.loss))
        #expect(replayed.map(\.gradientNorm) == recorded.map(\.gradientNorm))
        #expect(replayed.last?.validationLoss == recorded.last?.validationLoss)
    }

    @Test func theSamePlacementsGiveTheSameBits() throws {
        // Plans are made beside the training, in their own time: as many steps as it takes.
        var (steps, recorded) = (100, [StepMetrics]())
        repeat {
            try? FileManager.default.removeItem(atPath: log)
            steps *= 2
            recorded = try train(steps: steps) { $0.placementLog = log }
        } while try lines().count < 3 && steps < 6_400
        try #require(lines().count > 2, "nothing moved between two steps")
        let replayed = try train(steps: steps) { $0.placementReplay = log }
        expectSame(replayed, recorded)
        // Without it the placement, and so the order of sums, is another.
        let other = try train(steps: steps) { $0.reportInterval = 100_000 }
        #expect(other.map(\.loss) != recorded.map(\.loss))
    }

    /// What an incarnation did after the checkpoint that the next one goes on from counts no more.
    @Test func aRunThatWentOnFromACheckpointIsReplayedAsOne() throws {
        func change(_ options: inout TrainingOptions) {
            options.placementLog = log
            options.checkpointDirectory = fixture.path("checkpoints")
            options.checkpointInterval = 20
            options.checkpointKeep = 0
        }
        var byStep = [Int: StepMetrics]()
        for (end, left) in [(70, 60), (130, 120), (200, 200)] {
            for line in try train(steps: end, change: change) { byStep[line.step] = line }
            // As if the job had ended before it could write its last checkpoint.
            if left < end { try FileManager.default.removeItem(atPath: fixture.path("checkpoints/step-\(end)")) }
        }
        let recorded = byStep.values.sorted { $0.step < $1.step }
        let replayed = try train(steps: 200) { $0.placementReplay = log }
        #expect(replayed.map(\.loss) == recorded.map(\.loss))
        #expect(replayed.map(\.planRevision) == recorded.map(\.planRevision))
        // From the middle, too.
        try FileManager.default.removeItem(atPath: fixture.path("checkpoints/step-200"))
        let rest = try train(steps: 200) { options in
            options.placementReplay = log
            options.checkpointDirectory = fixture.path("checkpoints")
        }
        #expect(rest.first.map { $0.step > 150 } == true)
        #expect(rest.map(\.loss) == recorded.suffix(rest.count).map(\.loss))
    }

    /// A kill has cut the last line short, or the only one, and the next start of the run went on.
    @Test func aLogThatWasCutShortGoesOn() throws {
        let recorded = try train(steps: 1) { $0.placementLog = log }
        let good = try String(contentsOfFile: log, encoding: .utf8)
        for whole in ["", good] {
            try Data((whole + good.dropLast(5)).utf8).write(to: URL(fileURLWithPath: log))
            _ = try train(steps: 1) { $0.placementLog = log }
            #expect(try String(contentsOfFile: log, encoding: .utf8) == whole + good)
            expectSame(try train(steps: 1) { $0.placementReplay = log }, recorded)
        }
    }

    private func message(worldSize: Int = 2, change: (inout TrainingOptions) -> Void = { _ in }) throws -> String {
        var options = fixture.options(steps: 1)
        options.placementReplay = log
        change(&options)
        let final = options
        let ends = try outcomes(worldSize: worldSize) { communicator in
            try Trainer(options: final, communicator: communicator, nodes: communicator.nodes()).run()
        }
        let errors = ends.compactMap { end -> JobFailure? in
            if case .failure(let error) = end { error as? JobFailure } else { nil }
        }
        #expect(errors.count == worldSize)
        return errors.compactMap { $0.reason.map { "\($0)" } }.joined(separator: "; ")
    }

    @Test func whatIsNoLogOfTheseRanksIsRefused() throws {
        _ = try train(steps: 1) { $0.placementLog = log }
        let good = try String(contentsOfFile: log, encoding: .utf8)
        #expect(
            try message(worldSize: 3).hasSuffix(
                "was written by 2 ranks, and there are 3: --placement-replay takes as many"))
        #expect(
            try message { $0.coordinator = "127.0.0.1:1" }
                == "--placement-replay says where experts are, and so does a coordinator: leave one of them out")
        for (text, part) in [
            ("", "has no line"),
            ("{}\n", ", line 1: it is no line of a placement log"),
            (good + "x\n", ", line 2: it is no line of a placement log"),
            (
                good.replacing("\"ranks\":[0", with: "\"ranks\":[7"),
                ", line 1: invalid placement plan: layer 0, expert "
            ),
            (good.replacing("\"step\":1,", with: "\"step\":0,"), ", line 1: invalid placement plan: step 0 cannot be"),
            (
                good.replacing("\"layers\":[0,1]", with: "\"layers\":[0,2]"),
                ", line 1: invalid placement plan: the layers [0, 2] are not some of 2"
            ),
            (good.replacing("\"width\":12", with: "\"width\":13"), "layer 0: made for experts of widths"),
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: log))
            let message = try message()
            #expect(message.contains(part), "\(message)")
        }
        try FileManager.default.removeItem(atPath: log)
        #expect(try message().hasPrefix("cannot read \(log): "))
        // A last line that a kill has cut short is none.
        try Data((good + good.dropLast(5)).utf8).write(to: URL(fileURLWithPath: log))
        #expect(try fixture.train(worldSize: 2, steps: 1) { $0.placementReplay = log }.count == 1)
    }
}
