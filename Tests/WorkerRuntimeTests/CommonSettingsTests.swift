import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import TestSupport
import Testing
import WorkerRuntime

/// Ranks that were not started alike end before they train, and say which option it is.
@Suite struct CommonSettingsTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    private typealias Change = @Sendable (inout TrainingOptions) -> Void

    /// What may differ: paths (below, what is there is compared), what rank 0 alone looks at, and what is a machine's own. Another
    /// `precision` may not, but not every processor has one; `schedule` follows.
    private static let others: Set<String> = [
        "data", "model", "modelConfiguration", "memoryLimitBytes", "placementLog", "metrics", "csv", "tensorBoard",
        "checkpointKeep", "resume", "logInterval", "threads", "matrixLibrary", "run", "keyFile",
        "coordinatorTimeoutSeconds", "precision", "schedule",
    ]
    /// Properties of `TrainingOptions`, what users call them, and what rank 1 has otherwise.
    private static let changes: [(property: String, flag: String, change: Change)] = [
        ("steps", "--steps", { $0.steps = 3 }),
        ("batchSize", "--batch-size", { $0.batchSize = 9 }),
        ("sequenceLength", "--sequence-length", { $0.sequenceLength = 7 }),
        ("microBatches", "--micro-batches", { $0.microBatches = 2 }),
        ("recomputation", "--recompute", { $0.recomputation = .experts }),
        ("dataOrder", "--data-order", { $0.dataOrder = .sequential }),
        ("seed", "--seed", { $0.seed = 8 }),
        ("dataParallel", "--dp × --tp", { $0.dataParallel = 1 }),
        ("tensorParallel", "--dp × --tp", { $0.tensorParallel = 2 }),
        ("beta1", "--beta1", { $0.beta1 = 0.8 }),
        ("beta2", "--beta2", { $0.beta2 = 0.8 }),
        ("epsilon", "--epsilon", { $0.epsilon = 1e-7 }),
        ("weightDecay", "--weight-decay", { $0.weightDecay = 0.1 }),
        ("gradientClip", "--gradient-clip", { $0.gradientClip = 2 }),
        ("auxiliaryLoss", "--auxiliary-loss", { $0.auxiliaryLoss = 0.5 }),
        ("onNonFinite", "--on-nonfinite", { $0.onNonFinite = .skip }),
        ("capacity", "--capacity-factor", { $0.capacity = ExpertCapacity(factor: 2) }),
        ("allocator", "--allocator", { $0.allocator = "replicated" }),
        ("dispatcher", "--dispatcher", { $0.dispatcher = "weighted" }),
        ("optimizerPlacement", "--optimizer-placement", { $0.optimizerPlacement = .decoupled }),
        ("migrationBudgetBytes", "--migration-budget", { $0.migrationBudgetBytes = 1 }),
        ("placementReplay", "--placement-replay", { $0.placementReplay = "/nonexistent" }),
        ("benchmarkEvenRouting", "--benchmark-even-routing", { $0.benchmarkEvenRouting = true }),
        ("evaluationInterval", "--evaluation-interval", { $0.evaluationInterval = 2 }),
        ("evaluationBatches", "--evaluation-batches", { $0.evaluationBatches = 1 }),
        ("checkpointDirectory", "--checkpoint-directory", { $0.checkpointDirectory = nil }),
        ("checkpointInterval", "--checkpoint-interval", { $0.checkpointInterval = 2 }),
        ("overlap", "--overlap", { $0.overlap = [] }),
        ("coordinator", "--coordinator", { $0.coordinator = "127.0.0.1:9" }),
        ("reportInterval", "--report-interval", { $0.reportInterval = 3 }),
    ]
    private static let scheduleChanges: [(flag: String, change: Change)] = [
        ("--learning-rate", { $0.schedule.learningRate = 1 }),
        ("--learning-rate-schedule", { $0.schedule.shape = .constant }),
        ("--minimum-learning-rate", { $0.schedule.minimum = 1e-3 }),
        ("--warmup-steps", { $0.schedule.warmupSteps = 1 }),
    ]

    /// Whether the two ranks end alike, with a reason on one; that reason.
    private func reason(_ change: @escaping Change) throws -> String {
        var same = fixture.options(steps: 2)
        // Nothing is written there, for the run never begins.
        same.checkpointDirectory = fixture.path("checkpoints")
        same.schedule.shape = .cosine
        let base = same
        let results = try outcomes(worldSize: 2) { communicator in
            var options = base
            if communicator.rank == 1 { change(&options) }
            try Trainer(options: options, communicator: communicator, nodes: communicator.nodes()).run()
        }
        var reasons = [String]()
        for result in results {
            guard case .failure(let error as JobFailure) = result else {
                Issue.record("\(result)")
                continue
            }
            #expect(error.exitCode == 64)
            if let reason = error.reason { reasons.append("\(reason)") }
        }
        #expect(reasons.count == 1)
        return reasons.first ?? ""
    }

    /// A new option that decides on anything must be compared, and so be in the table.
    @Test func everyOptionIsThoughtOf() {
        let options = Mirror(reflecting: fixture.options(steps: 1)).children.compactMap(\.label)
        #expect(Set(options) == Self.others.union(Self.changes.map(\.property)))
        let schedule = Mirror(reflecting: fixture.options(steps: 1).schedule).children.compactMap(\.label)
        // The steps are those of the options.
        #expect(schedule.count == Self.scheduleChanges.count + 1)
    }

    @Test func theOptionThatDiffersIsNamed() throws {
        for (flag, change) in Self.changes.map({ ($0.flag, $0.change) })
            + Self.scheduleChanges.map({ ($0.flag, $0.change) })
        {
            let reason = try reason(change)
            #expect(reason.hasPrefix("\(flag) is ") && reason.contains(" on rank 1, but "), "\(flag): \(reason)")
        }
        let exact = try reason { $0.seed = 8 }
        #expect(
            exact == "--seed is 8 on rank 1, but 7 on rank 0: start all ranks with the same options, model and data")
    }

    /// The path does not matter, what is there does.
    @Test func dataAndModelAreCompared() throws {
        let other = try TrainingFixture()
        // In a place of its own all is the same.
        let lines = fixture.path("metrics.jsonl")
        let base = fixture.options(steps: 2)
        let results = try outcomes(worldSize: 2) { communicator in
            var options = base
            if communicator.rank == 0 {
                // Rank 0 writes them.
                options.metrics = lines
                options.placementLog = fixture.path("placements.jsonl")
            } else {
                // The same mesh.
                options.dataParallel = 2
                options.data = other.folder.path
                options.modelConfiguration = other.path("config.json")
            }
            try Trainer(options: options, communicator: communicator, nodes: communicator.nodes()).run()
        }
        for result in results { try result.get() }
        #expect(try String(contentsOfFile: lines, encoding: .utf8).split(separator: "\n").count == 2)

        try other.write((0..<600).map { UInt16($0 % 13) }, to: "train.bin")
        let data = try reason { $0.data = other.folder.path }
        #expect(data.hasPrefix("train.bin of --data is 600 tokens with samples "), "\(data)")
        try FileManager.default.removeItem(atPath: other.path("val.bin"))
        try FileManager.default.removeItem(atPath: other.path("train.bin"))
        try FileManager.default.copyItem(atPath: fixture.path("train.bin"), toPath: other.path("train.bin"))
        let validation = try reason { $0.data = other.folder.path }
        #expect(validation.hasPrefix("val.bin of --data is not given on rank 1, but 100 tokens"), "\(validation)")
        let larger = try TrainingFixture(layers: 3)
        let model = try reason { $0.modelConfiguration = larger.path("config.json") }
        #expect(
            model.hasPrefix("the model's num_hidden_layers is 3 on rank 1, but 2 on rank 0: "), "\(model)")
    }

    /// Of one shape, but with other weights.
    @Test func weightsAreCompared() throws {
        for seed in [1, 2] as [UInt64] {
            _ = try fixture.train(steps: 0) {
                $0.seed = seed
                $0.checkpointDirectory = fixture.path("seed-\(seed)")
            }
        }
        let paths = (fixture.path("seed-1/step-0"), fixture.path("seed-2/step-0"))
        let base = fixture.options(steps: 1)
        let results = try outcomes(worldSize: 2) { communicator in
            var options = base
            options.modelConfiguration = nil
            options.model = communicator.rank == 0 ? paths.0 : paths.1
            try Trainer(options: options, communicator: communicator, nodes: communicator.nodes()).run()
        }
        guard case .failure(let error as JobFailure) = results[1] else {
            Issue.record("\(results)")
            return
        }
        #expect(
            error.exitCode == 64 && "\(error)".hasPrefix("the checkpoint of --model is one with samples "), "\(error)")
    }
}
