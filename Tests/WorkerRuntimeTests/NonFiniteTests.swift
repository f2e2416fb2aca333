import Checkpoints
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import Testing
import TokenData
import WorkerRuntime

/// Random weights, but for some tensors that are filled with one number.
private struct OverriddenWeights: WeightSource {
    let base = RandomWeights(seed: 3, standardDeviation: 0.2)
    let overrides: [String: Float]

    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        if let value = overrides[name] { return destination.fill(value) }
        try base.load(name, shape: shape, rows: rows, columns: columns, into: destination)
    }
}

/// Remembers whole tensors.
private final class CollectedWeights: WeightSink {
    var tensors = [String: [Float]]()
    func store(_ name: String, shape: [Int], _ values: Tensor) { tensors[name] = values.array }
}

@Suite struct NonFiniteTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// Runs one step on each rank.
    /// - Returns: by rank, what `run` gave, and whether all weights are as they were.
    private func step(
        worldSize: Int, allocator: String, layers: Int = 2, rmsNormEpsilon: Double = 1e-5,
        overrides: [String: Float], onNonFinite: TrainingOptions.OnNonFinite = .stop
    ) throws -> [(outcome: Result<TrainingStep.Outcome, any Error>, isUnchanged: Bool)] {
        try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            var options = fixture.options(steps: 1)
            options.onNonFinite = onNonFinite
            let configuration = try TrainingFixture.configuration(layers: layers, rmsNormEpsilon: rmsNormEpsilon)
            let context = ExpertParallelContext(communicator: communicator)
            let model = MixtralModel(configuration: configuration, timer: context.timer)
            try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
                allocator: Allocators.make(named: allocator), dispatcher: RandomDispatcher(seed: 1),
                configuration: ParallelConfiguration(
                    layers: layers, expertsPerLayer: .uniform(configuration.experts), context: context))
            try model.loadWeights(from: OverriddenWeights(overrides: overrides))
            let optimizer = MoEOptimizer(model: model, context: context)
            let batches = try BatchSource(
                file: TokenFile(path: fixture.path("train.bin"), vocabularySize: configuration.vocabularySize),
                sequenceLength: options.sequenceLength, batchSize: options.batchSize, order: .sequential)
            let step = TrainingStep(
                model: model, optimizer: optimizer, context: context, batches: batches, options: options)
            let (before, after) = (CollectedWeights(), CollectedWeights())
            try model.storeWeights(to: before)
            let outcome = Result { try step.run(step: 0) }
            try model.storeWeights(to: after)
            let isUnchanged = before.tensors.allSatisfy { name, values in
                after.tensors[name]?.elementsEqual(values) { $0.bitPattern == $1.bitPattern } ?? false
            }
            return (outcome, isUnchanged)
        }
    }

    /// The one reason that some rank gives; all ranks must fail alike and with their weights as they were.
    private func failure(
        _ results: [(outcome: Result<TrainingStep.Outcome, any Error>, isUnchanged: Bool)]
    ) throws -> (rank: Int, reason: String) {
        var failures = [JobFailure]()
        for result in results {
            #expect(result.isUnchanged)
            guard case .failure(let error) = result.outcome else {
                Issue.record("a rank went on")
                continue
            }
            failures.append(try #require(error as? JobFailure))
        }
        #expect(Set(failures.map(\.rank)).count == 1)
        #expect(failures.allSatisfy { $0.exitCode == 1 })
        let reporting = failures.indices.filter { failures[$0].reason != nil }
        #expect(reporting == [failures[0].rank])
        return (failures[0].rank, "\(try #require(failures[reporting[0]].reason))")
    }

    @Test(arguments: [1, 2, 3]) func infiniteWeightIsFoundWhereItIs(worldSize: Int) throws {
        let results = try step(
            worldSize: worldSize, allocator: "expert-parallel",
            overrides: ["model.layers.1.block_sparse_moe.experts.2.w1.weight": .infinity])
        let failure = try failure(results)
        // Expert e is on rank e mod W.
        #expect(failure.rank == 2 % worldSize)
        #expect(failure.reason.contains("step 1: the loss is not finite; layer 1: "), "\(failure.reason)")
        #expect(failure.reason.contains("model.layers.1.block_sparse_moe.experts.2"), "\(failure.reason)")
        #expect(failure.reason.contains("on rank \(2 % worldSize)"), "\(failure.reason)")
    }

    @Test(arguments: [1, 2, 3]) func overflowInALayerIsFoundThere(worldSize: Int) throws {
        // Finite weights whose products are not.
        let overrides = Dictionary(
            uniqueKeysWithValues: (0..<4).map {
                ("model.layers.1.block_sparse_moe.experts.\($0).w1.weight", Float(3e38))
            })
        let failure = try failure(
            step(worldSize: worldSize, allocator: "tensor-parallel", overrides: overrides))
        #expect(failure.rank == 0)
        #expect(
            failure.reason.contains("step 1: the loss is not finite; layer 1: its output is not finite on rank 0"),
            "\(failure.reason)")
    }

    @Test(arguments: [1, 2, 3]) func overflowOnTheWayBackIsFoundThere(worldSize: Int) throws {
        // All activations are zero, so each norm multiplies the gradient by 1 / √epsilon = 1e15 and the forward pass is
        // finite. After the final norm, layer 2 and layer 1 the gradient is beyond fp32, and layer 0 gets it.
        let failure = try failure(
            step(
                worldSize: worldSize, allocator: "replicated", layers: 3, rmsNormEpsilon: 1e-30,
                overrides: ["model.embed_tokens.weight": 0]))
        #expect(failure.rank == 0)
        #expect(
            failure.reason.contains("step 1: the gradient is not finite; layer 0: the gradient of model.layers.0."),
            "\(failure.reason)")
    }

    @Test func headIsNamedByTheLayerBefore() throws {
        let failure = try failure(
            step(
                worldSize: 2, allocator: "replicated", overrides: ["model.norm.weight": .nan]))
        #expect(
            failure.reason.contains(
                "the output head, after layer 1: the weights of model.norm.weight are not finite on rank 0"),
            "\(failure.reason)")
    }

    @Test func skippedStepChangesNothing() throws {
        for overrides in [
            ["model.layers.1.block_sparse_moe.experts.2.w1.weight": Float.infinity], ["lm_head.weight": Float.nan],
        ] {
            let results = try step(
                worldSize: 2, allocator: "expert-parallel", overrides: overrides, onNonFinite: .skip)
            for result in results {
                #expect(result.isUnchanged)
                #expect(try result.outcome.get().isSkipped)
            }
        }
    }

    @Test func skippedStepsAreCounted() throws {
        // So large a rate destroys the weights in the first step; from then on no step is of use.
        let lines = try fixture.train(worldSize: 2, steps: 5) { options in
            options.schedule.learningRate = 1e38
            options.gradientClip = 0
            options.onNonFinite = .skip
        }
        #expect(lines.map(\.skippedSteps) == [0, 1, 2, 3, 4])
        #expect(lines.map(\.gradientNorm.isFinite) == [true, false, false, false, false])
    }

    /// Where no step is of use any more, good checkpoints stay, however many steps are skipped.
    @Test func brokenWeightsPushOutNoGoodCheckpoint() throws {
        let folder = fixture.path("checkpoints")
        func train(steps: Int, learningRate: Double) throws -> [Int] {
            _ = try fixture.train(worldSize: 2, steps: steps) {
                $0.checkpointDirectory = folder
                $0.checkpointInterval = 1
                $0.onNonFinite = .skip
                $0.schedule.learningRate = learningRate
                $0.gradientClip = 0
            }
            return try CheckpointDirectory(folder).steps()
        }
        #expect(try train(steps: 3, learningRate: 1e-2) == [1, 2, 3])
        // Step 4 makes weights that are finite and of no use. The last step has a checkpoint in any case.
        #expect(try train(steps: 10, learningRate: 1e38) == [2, 3, 4, 10])
    }

    /// Skipping does not help against weights that are not finite.
    @Test func brokenWeightsEndTheRunThatSkips() throws {
        let folder = fixture.path("checkpoints")
        let reason = try fixture.failure(worldSize: 2, steps: 10, exitCode: 1) {
            $0.checkpointDirectory = folder
            $0.checkpointInterval = 2
            $0.onNonFinite = .skip
            $0.schedule.learningRate = 1e39
        }
        #expect(reason.hasPrefix("step 2: the weights of ") && reason.contains("were not saved"), "\(reason)")
        #expect(try CheckpointDirectory(folder).steps().isEmpty)
    }

    /// Weights that are finite are saved, whatever their validation says, and push out no good checkpoint. But the last step's are not:
    /// the next start would find nothing left to do, and succeed.
    @Test func finiteWeightsAreSavedBeforeTheirValidationEndsTheJob() throws {
        let folder = fixture.path("checkpoints")
        func change(_ options: inout TrainingOptions) {
            options.checkpointDirectory = folder
            options.checkpointKeep = 1
        }
        _ = try fixture.train(worldSize: 2, steps: 1, change: change)
        for (steps, saved) in [(2, [1]), (3, [1, 2])] {
            let reason = try fixture.failure(worldSize: 2, steps: steps, exitCode: 1) {
                change(&$0)
                $0.evaluationInterval = 1
                $0.checkpointInterval = 1
                // Products of two such weights are more than fp32 holds.
                $0.schedule.learningRate = 1e18
            }
            #expect(reason.hasPrefix("step 2: the validation loss is not finite; "), "\(reason)")
            #expect(try CheckpointDirectory(folder).steps() == saved)
        }
    }

    /// The update of the last step is what breaks the weights, so no loss or gradient of a step tells.
    @Test(arguments: [1, 2]) func weightsBrokenByTheLastStepAreNotSaved(worldSize: Int) throws {
        let folder = fixture.path("broken")
        func reason() throws -> String {
            var options = fixture.options(steps: 1)
            // More than fp32 holds.
            options.schedule.learningRate = 1e39
            options.checkpointDirectory = folder
            let final = options
            let results = try outcomes(worldSize: worldSize) { communicator in
                try Trainer(options: final, communicator: communicator, nodes: communicator.nodes()).run()
            }
            let reasons = results.compactMap { result -> String? in
                guard case .failure(let failure as JobFailure) = result else { return "no failure" }
                return failure.reason.map { "\($0)" }
            }
            try #require(reasons.count == 1)
            return reasons[0]
        }
        let whileValidating = try reason()
        #expect(whileValidating.hasPrefix("step 1: the validation loss is not finite; "), "\(whileValidating)")
        #expect(whileValidating.contains("layer ") && whileValidating.contains(" on rank 0"), "\(whileValidating)")
        try FileManager.default.removeItem(atPath: fixture.path("val.bin"))
        let whileSaving = try reason()
        #expect(whileSaving.hasPrefix("step 1: the weights of "), "\(whileSaving)")
        #expect(whileSaving.contains("are not finite on rank 0 and were not saved"), "\(whileSaving)")
        // Who writes there is known, and nothing was written.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [".lock", "incarnation.json"])
    }
}
