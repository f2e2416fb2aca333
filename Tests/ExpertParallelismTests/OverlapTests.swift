import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import PlacementInvariance
import Randomness
import Tensors
import TestSupport
import Testing

/// Results are the same with and without overlap, so only the order of calls shows whether anything travels while ranks compute.
@Suite struct OverlapTests {
    private let block = BlockCase()

    /// Runs `body` on two ranks, each with a block whose experts are where `rule` has them.
    private func run<Result: Sendable>(
        _ rule: StaticAllocator.Rule, overlap: Overlap,
        _ body: @escaping @Sendable (SparseMoEBlock, ExpertParallelContext, RecordingCommunicator) throws -> Result
    ) throws -> [Result] {
        try ThreadCommunicator.run(worldSize: 2) { [block] communicator in
            let recording = RecordingCommunicator(communicator)
            let context = ExpertParallelContext(communicator: recording, overlap: overlap)
            let sparse = block.block()
            try parallelizeExperts(
                in: sparse, matching: "experts", allocator: StaticAllocator(rule),
                dispatcher: RandomDispatcher(seed: 11),
                configuration: ParallelConfiguration(
                    layers: 1, expertsPerLayer: .perLayer([block.widths.count]), context: context))
            try sparse.loadWeights(from: block.weights)
            return try body(sparse, context, recording)
        }
    }

    /// The next chunk's rows are on their way before those of this one are waited for, and its results leave meanwhile.
    @Test(arguments: [true, false]) func rowsTravelWhileOthersAreComputed(overlaps: Bool) throws {
        let ranks = try run(.expertParallel, overlap: overlaps ? .dispatch : []) { [block] sparse, _, recording in
            _ = try sparse.forward(block.rows(0..<12, purpose: "x"), savingForBackward: true)
            let forward = recording.takeMost()
            _ = try sparse.backward(block.rows(0..<12, purpose: "dy"), probabilityGradient: nil)
            return [forward, recording.takeMost(), recording.underWay]
        }
        // Each rank has two experts: two chunks. Backward's last results travel with the gradients of routing weights.
        for counts in ranks { #expect(counts == (overlaps ? [2, 3, 0] : [1, 2, 0])) }
    }

    /// Chunks change no bit, wherever experts are, and nothing is changed or read while it travels.
    @Test(arguments: 2...5) func chunksChangeNothing(worldSize: Int) throws {
        var block = BlockCase()
        block.expertsPerToken = 3
        block.widths = [3, 7, 1, 5, 2, 6]
        let seed = TestRuns.seed("overlap on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for round in 0..<10 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            func run(_ overlap: Overlap) throws -> [BlockCase.Outcome] {
                block.overlap = overlap
                return try ThreadCommunicator.run(worldSize: worldSize) { [block] in
                    try block.run(on: EagerCommunicator($0), plan: plan, dispatcher: RandomDispatcher(seed: seed))
                }
            }
            for (apart, overlapped) in zip(try run([]), try run(.all)) {
                let situation = "round \(round), seed \(seed), plan \(plan.layers[0].experts.map(\.mesh))"
                #expect(apart.outputs.allSatisfy(\.isFinite) && apart.outputs == overlapped.outputs, "\(situation)")
                #expect(apart.inference == overlapped.inference, "\(situation)")
                #expect(apart.inputGradients == overlapped.inputGradients, "\(situation)")
                #expect(apart.gradients == overlapped.gradients, "\(situation)")
                #expect(apart.gradientNorm.isFinite && apart.gradientNorm == overlapped.gradientNorm, "\(situation)")
                #expect(apart.bytesSent == overlapped.bytesSent, "\(situation)")
            }
        }
    }

    /// Gradients and weights of experts, and of the rest.
    @Test(arguments: [true, false]) func weightsTravelAfterTheStep(overlaps: Bool) throws {
        let ranks = try run(.replicated, overlap: overlaps ? .refresh : []) { [block] sparse, context, recording in
            let optimizer = MoEOptimizer(model: sparse, context: context)
            optimizer.zeroGradients()
            _ = try sparse.forward(block.rows(0..<12, purpose: "x"), savingForBackward: true)
            _ = try sparse.backward(block.rows(0..<12, purpose: "dy"), probabilityGradient: nil)
            var underWay = [Int]()
            try optimizer.startReduction(stage: 0)
            underWay.append(recording.underWay)
            _ = try optimizer.reduceGradients()
            underWay.append(recording.underWay)
            try optimizer.step(AdamW.Configuration(learningRate: 1e-3))
            underWay.append(recording.underWay)
            try optimizer.finishRefresh()
            underWay.append(recording.underWay)
            return underWay
        }
        for counts in ranks { #expect(counts == [2, 0, overlaps ? 2 : 0, 0]) }
    }
}
