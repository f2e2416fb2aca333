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

/// Attention and networks that are spread over ranks give what one process gives, with whatever else is spread.
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

    /// With a dense layer, and a shared expert with a gate.
    private static var networks: InvarianceCase {
        var training = InvarianceCase()
        training.modelType = .qwen2MoE
        training.denseLayers = [0]
        training.sharedExpertWidth = 5
        return training
    }

    /// Ranks that have no neuron, of the dense network or of the shared expert.
    @Test(arguments: [(1, 3), (3, 1), (2, 6), (4, 7)]) func fewerNeuronsThanRanks(dense: Int, shared: Int) throws {
        var training = Self.networks
        training.denseWidth = dense
        training.sharedExpertWidth = shared
        let reference = try training.reference()
        training.tensorParallel = 4
        for recomputation in Recomputation.allCases {
            training.recomputation = recomputation
            let plan = try training.plan(allocator: "expert-parallel", worldSize: 4)
            try run(training, plan).check(against: reference, tolerance: Self.tolerance)
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
    @Test(arguments: [(2, 2), (4, 2), (4, 4)], [false, true])
    func overlapAndRecomputationChangeNothing(
        ranks: (worldSize: Int, tensorParallel: Int), hasNetworks: Bool
    ) throws {
        var training = hasNetworks ? Self.networks : InvarianceCase()
        training.steps = 4
        training.microBatches = 2
        training.tensorParallel = ranks.tensorParallel
        training.overlap = []
        let plan = try training.plan(allocator: "replicated", worldSize: ranks.worldSize)
        let apart = try run(training, plan)
        for (overlap, recomputation) in [
            (Overlap.all, Recomputation.none), ([], .attention), (.all, .experts), (.gradients, .full),
        ] {
            training.overlap = overlap
            training.recomputation = recomputation
            #expect(try run(training, plan).isExactly(apart), "\(overlap.text), \(recomputation)")
        }
    }

    /// A rank holds the weights of its heads and neurons alone, and the state of these is on the ranks that hold them.
    @Test func memoryIsSpread() throws {
        let configuration = try MixtralConfiguration(
            modelType: .qwen2MoE, vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 2, heads: 4,
            keyValueHeads: 2, experts: 2, denseLayers: [0], denseWidth: 10, sharedExpertWidth: 6)
        let held = try ThreadCommunicator.run(worldSize: 4) { communicator -> [[Int]] in
            let model = MixtralModel(configuration: configuration)
            let context = ExpertParallelContext(communicator: communicator)
            try parallelizeDense(
                in: model, mesh: DenseMesh(dataParallel: 2, tensorParallel: 2), context: context)
            try parallelizeExperts(
                in: model, matching: #".*\.experts"#, allocator: StaticAllocator(.expertParallel),
                dispatcher: RandomDispatcher(seed: 1),
                configuration: ParallelConfiguration(layers: 1, expertsPerLayer: .uniform(2), context: context))
            let (modules, state) = (model.namedModules(), MoEOptimizer(model: model, context: context).ownedState)
            return try ["0.self_attn", "0.mlp", "1.mlp.shared_expert"].map { name in
                let path = "model.layers.\(name)"
                let module = try #require(modules.first { $0.path == path }?.module as? any TensorParallelModule)
                let moments = state.filter { $0.name.hasPrefix("\(path).") && $0.name.hasSuffix("exp_avg") }
                return [
                    module.sharded.reduce(0) { $0 + $1.parameter.count }, moments.reduce(0) { $0 + $1.rows.count },
                ]
            }
        }
        // Queries and output 16 × 16 each, keys and values 8 × 16; three matrices of 10 neurons, and of 6.
        #expect(held.map { $0.map { $0[0] } } == [[Int]](repeating: [384, 240, 144], count: 4))
        // Two ranks have each part, and own half of a layer's each.
        for place in 0..<2 {
            #expect(held[place][0][1] + held[place + 2][0][1] == 384)
            #expect(held[place][0][1] + held[place][1][1] == 312)
            #expect(held[place][2][1] + held[place + 2][2][1] == 144)
        }
    }

    /// Weights that are there are taken over; a module that is spread already stays.
    @Test func weightsAreTakenOver() throws {
        let configuration = try MixtralConfiguration(
            modelType: .qwen2MoE, vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 2, heads: 4,
            keyValueHeads: 1, experts: 2, denseLayers: [1], denseWidth: 7, sharedExpertWidth: 2)
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
            for _ in 0..<2 { try parallelizeDense(in: model, mesh: mesh, context: context) }
            #expect(model.namedWeights().map(\.name).sorted() == tensors.keys.sorted())
            let sink = MemorySink()
            try model.storeWeights(to: sink)
            return sink.tensors
        }
        #expect(found[0] == tensors)
        for name in ["0.self_attn.q_proj", "0.mlp.shared_expert.up_proj", "1.mlp.down_proj"] {
            let path = "model.layers.\(name).weight"
            #expect(found[0][path] != nil && found[1][path] == nil)
        }
    }

    @Test func moreRanksThanHeads() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 7, hiddenSize: 16, intermediateSize: 4, layers: 1, heads: 2, experts: 2)
        let errors = try ThreadCommunicator.run(worldSize: 3) { communicator in
            do {
                try parallelizeDense(
                    in: MixtralModel(configuration: configuration), mesh: DenseMesh(dataParallel: 1, tensorParallel: 3),
                    context: ExpertParallelContext(communicator: communicator))
                return ""
            } catch { return "\(error)" }
        }
        #expect(errors.allSatisfy { $0.contains("self_attn has 2 heads, too few for the 3 ranks") }, "\(errors)")
    }
}
