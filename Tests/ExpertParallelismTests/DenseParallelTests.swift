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

/// Attention that is spread over ranks gives what one process gives, with whatever else is spread.
@Suite struct DenseParallelTests {
    private static let tolerance = 1e-5

    private func run(_ training: InvarianceCase, _ plan: PlacementPlan, moves: ExpertMoves? = nil) throws
        -> TrainingRecord
    {
        try ThreadCommunicator.run(worldSize: plan.worldSize) {
            try training.run(on: $0, plan: plan, dispatcher: RandomDispatcher(seed: 11), moves: moves)
        }[0]
    }

    /// Losses, gradients, their norm and the updated weights.
    @Test(arguments: [1, 2, 3, 4, 6], [1, 2, 4])
    func oneStepIsThatOfOneProcess(worldSize: Int, keyValueHeads: Int) throws {
        let seed = TestRuns.seed("random plans for \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for tensorParallel in 1...4 where worldSize % tensorParallel == 0 {
            for microBatches in 1...2 {
                var training = InvarianceCase()
                training.keyValueHeads = keyValueHeads
                training.microBatches = microBatches
                training.sequences = 7
                training.tensorParallel = tensorParallel
                let reference = try training.reference()
                for round in 0..<4 {
                    let plan = try plans.plan(for: training.expertModel, worldSize: worldSize)
                    training.overlap = Overlap(rawValue: (round * 3 + 7) % 8)
                    training.recomputation = Recomputation.allCases[round]
                    let record = try run(training, plan)
                    do {
                        try record.check(against: reference, tolerance: Self.tolerance)
                    } catch {
                        Issue.record(
                            """
                            \(worldSize / tensorParallel) × \(tensorParallel), \(microBatches) micro-batches, recomputed: \
                            \(training.recomputation), seed \(seed): \(error)
                            """)
                    }
                    #expect(record.expertLoads == reference.expertLoads)
                }
            }
        }
    }

    /// Ranks that have no token, but heads; heads that go around unevenly.
    @Test func smallerThanTheGroup() throws {
        for (heads, keyValueHeads, ranks) in [(4, 2, 4), (6, 3, 4), (6, 2, 5), (5, 1, 3), (3, 3, 2)] {
            // A sequence of one token would give keys a gradient of rounding errors alone.
            for (sequences, sequenceLength) in [(1, 3), (2, 4)] {
                var training = InvarianceCase()
                training.heads = heads
                training.keyValueHeads = keyValueHeads
                training.sequences = sequences
                training.sequenceLength = sequenceLength
                let reference = try training.reference()
                training.tensorParallel = ranks
                let plan = try training.plan(allocator: "expert-parallel", worldSize: ranks)
                do {
                    try run(training, plan).check(against: reference, tolerance: Self.tolerance)
                } catch {
                    Issue.record(
                        "\(heads) heads, \(keyValueHeads) of keys, \(ranks) ranks, \(sequences) sequences: \(error)")
                }
            }
        }
    }

    /// Updates reach all ranks, and experts move meanwhile.
    @Test(arguments: [(2, 2), (4, 2), (3, 3), (4, 4)])
    func manyStepsAreThoseOfOneProcess(worldSize: Int, tensorParallel: Int) throws {
        for ownership in OwnershipPolicy.allCases {
            var training = InvarianceCase()
            training.steps = 20
            training.ownership = ownership
            let reference = try training.reference()
            training.tensorParallel = tensorParallel
            let seed = TestRuns.seed()
            let record = try run(
                training, training.plan(allocator: "expert-parallel", worldSize: worldSize),
                moves: ExpertMoves(model: training.expertModel, seed: seed, interval: 4))
            try record.checkLosses(against: reference, tolerance: 1e-3)
        }
    }

    /// What travels while ranks compute, and what is computed again, changes no bit.
    @Test(arguments: [(2, 2), (4, 2), (4, 4)])
    func overlapAndRecomputationChangeNothing(worldSize: Int, tensorParallel: Int) throws {
        var training = InvarianceCase()
        training.steps = 4
        training.microBatches = 2
        training.tensorParallel = tensorParallel
        training.overlap = []
        let plan = try training.plan(allocator: "replicated", worldSize: worldSize)
        let apart = try run(training, plan)
        for (overlap, recomputation) in [
            (Overlap.all, Recomputation.none), ([], .attention), (.all, .experts), (.gradients, .full),
        ] {
            training.overlap = overlap
            training.recomputation = recomputation
            #expect(try run(training, plan).isExactly(apart), "\(overlap.text), \(recomputation)")
        }
    }

    /// A rank holds its heads' weights alone, and the state of these is on the ranks that hold them.
    @Test func memoryIsSpread() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 1, heads: 4, keyValueHeads: 2, experts: 2)
        let held = try ThreadCommunicator.run(worldSize: 4) { communicator -> [Int] in
            let model = MixtralModel(configuration: configuration)
            let context = ExpertParallelContext(communicator: communicator)
            try parallelizeAttention(
                in: model, mesh: DenseMesh(dataParallel: 2, tensorParallel: 2), context: context)
            try parallelizeExperts(
                in: model, matching: #".*\.experts"#, allocator: StaticAllocator(.expertParallel),
                dispatcher: RandomDispatcher(seed: 1),
                configuration: ParallelConfiguration(layers: 1, expertsPerLayer: .uniform(2), context: context))
            let attention = try #require(
                model.namedModules().lazy.compactMap { $0.module as? TensorParallelAttention }.first)
            let state = MoEOptimizer(model: model, context: context).ownedState
            return [
                attention.sharded.reduce(0) { $0 + $1.parameter.count },
                state.filter { $0.name.contains("self_attn") && $0.name.hasSuffix("exp_avg") }
                    .reduce(0) { $0 + $1.rows.count },
            ]
        }
        // Queries and output 16 × 16 each, keys and values 8 × 16.
        #expect(held == [[384, 192], [384, 192], [384, 192], [384, 192]])
    }

    /// Weights that are there are taken over; a module that is spread already stays.
    @Test func weightsAreTakenOver() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 2, heads: 4, keyValueHeads: 1, experts: 2)
        let whole = MixtralModel(configuration: configuration)
        try whole.loadWeights(from: RandomWeights(seed: 3, standardDeviation: 0.2))
        let expected = MemorySink()
        try whole.storeWeights(to: expected)
        let tensors = expected.tensors
        let found = try ThreadCommunicator.run(worldSize: 3) { communicator in
            let model = MixtralModel(configuration: configuration)
            try model.loadWeights(from: RandomWeights(seed: 3, standardDeviation: 0.2))
            let context = ExpertParallelContext(communicator: communicator)
            let mesh = DenseMesh(dataParallel: 1, tensorParallel: 3)
            for _ in 0..<2 { try parallelizeAttention(in: model, mesh: mesh, context: context) }
            #expect(model.namedWeights().map(\.name).sorted() == tensors.keys.sorted())
            let sink = MemorySink()
            try model.storeWeights(to: sink)
            return sink.tensors
        }
        #expect(found[0] == tensors)
        #expect(found[1]["model.layers.0.self_attn.q_proj.weight"] == nil)
    }

    @Test func moreRanksThanHeads() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 1, heads: 2, experts: 2)
        let errors = try ThreadCommunicator.run(worldSize: 3) { communicator in
            do {
                try parallelizeAttention(
                    in: MixtralModel(configuration: configuration), mesh: DenseMesh(dataParallel: 1, tensorParallel: 3),
                    context: ExpertParallelContext(communicator: communicator))
                return ""
            } catch { return "\(error)" }
        }
        #expect(errors.allSatisfy { $0.contains("self_attn has 2 heads, too few for the 3 ranks") }, "\(errors)")
    }
}
