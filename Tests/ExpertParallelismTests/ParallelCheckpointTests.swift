import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import PlacementInvariance
import Synchronization
import Tensors
import TestSupport
import Testing

/// What checkpoints of models whose experts are spread over ranks are made of.
@Suite struct ParallelCheckpointTests {
    private static let configuration = try? MixtralConfiguration(
        vocabularySize: 17, hiddenSize: 12, intermediateSize: 7, layers: 2, heads: 3, experts: 4)

    /// The model with drawn weights, on this rank, under `plan`.
    private static func model(_ communicator: any Communicator, plan: PlacementPlan) throws -> MixtralModel {
        let model = MixtralModel(configuration: try #require(configuration))
        try parallelizeExperts(
            in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
            allocator: StaticAllocator(.replicated), dispatcher: TokenDispatchers.make(named: "random", seed: 1),
            configuration: ParallelConfiguration(
                layers: 2, expertsPerLayer: .uniform(4), context: ExpertParallelContext(communicator: communicator),
                plan: plan))
        try model.loadWeights(from: RandomWeights(seed: 5, standardDeviation: 0.1))
        return model
    }

    private static var expertModel: ExpertModel {
        ExpertModel(hiddenSize: 12, layers: [[Int]](repeating: [Int](repeating: 7, count: 4), count: 2))
    }

    /// Each weight once, whole and as one process has it, and each rank about as many as another.
    @Test(arguments: 1...5) func weightsAreSpreadOverTheRanks(worldSize: Int) throws {
        let whole = MixtralModel(configuration: try #require(Self.configuration))
        try whole.loadWeights(from: RandomWeights(seed: 5, standardDeviation: 0.1))
        let expected = MemorySink()
        try whole.storeWeights(to: expected)
        let shapes = Dictionary(uniqueKeysWithValues: whole.namedWeights().map { ($0.name, $0.shape) })
        var plans = RandomPlan(seed: TestRuns.seed())
        for _ in 0..<5 {
            let plan = try plans.plan(for: Self.expertModel, worldSize: worldSize)
            let parts = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
                let model = try Self.model(communicator, plan: plan)
                let distribution = WeightDistribution(model, worldSize: worldSize)
                let announced = distribution.weights(of: communicator.rank)
                let sink = OrderedSink()
                try distribution.store(to: sink, communicator: communicator)
                #expect(sink.names == announced.map(\.name))
                for (name, shape) in announced { #expect(shapes[name] == shape, "\(name)") }
                return sink.memory.tensors
            }
            #expect(parts.reduce(0) { $0 + $1.count } == shapes.count)
            for (name, values) in parts.joined() { #expect(values == expected.tensors[name], "\(name)") }
            let entries = parts.map { $0.values.reduce(0) { $0 + $1.count } }
            // An expert of 3 · 7 · 12 or a matrix of 17 · 12 entries goes to one rank as a whole.
            let even = entries.reduce(0, +) / worldSize
            #expect(entries.allSatisfy { abs($0 - even) <= 2 * 252 }, "\(entries)")
        }
    }

    /// A sink that fails lets the collective come to its end, and tells at the end.
    @Test func aFailingSinkLeavesNoRankWaiting() throws {
        let plan = try #require(
            try StaticAllocator(.tensorParallel).firstPlan(for: Self.expertModel, worldSize: 3))
        let failed = try ThreadCommunicator.run(worldSize: 3) { communicator in
            let distribution = WeightDistribution(try Self.model(communicator, plan: plan), worldSize: 3)
            let sink: any WeightSink = communicator.rank == 1 ? FullSink() : MemorySink()
            do {
                try distribution.store(to: sink, communicator: communicator)
                try communicator.barrier()
                return false
            } catch is FullSink.Failure {
                try communicator.barrier()
                return true
            }
        }
        #expect(failed == [false, true, false])
    }

    /// Each row of each moment is in one rank's shards, under any plan and ownership.
    @Test(arguments: OwnershipPolicy.allCases) func stateIsOwnedOnce(ownership: OwnershipPolicy) throws {
        var plans = RandomPlan(seed: TestRuns.seed())
        for worldSize in 1...4 {
            let plan = try plans.plan(for: Self.expertModel, worldSize: worldSize)
            let owned = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
                let model = try Self.model(communicator, plan: plan)
                let optimizer = MoEOptimizer(
                    model: model, context: ExpertParallelContext(communicator: communicator), ownership: ownership)
                return optimizer.ownedState.map {
                    (name: $0.name, rows: $0.rows, total: $0.totalRows, $0.values.columns)
                }
            }
            var rows = [String: [Range<Int>]]()
            var sizes = [String: (Int, Int)]()
            for (name, range, total, columns) in owned.joined() {
                rows[name, default: []].append(range)
                #expect(sizes.updateValue((total, columns), forKey: name).map { $0 == (total, columns) } != false)
            }
            for (name, ranges) in rows {
                let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
                #expect(sorted.first?.lowerBound == 0 && sorted.last?.upperBound == sizes[name]?.0)
                for (range, next) in zip(sorted, sorted.dropFirst()) {
                    #expect(range.upperBound == next.lowerBound, "\(name)")
                }
            }
            let whole = MixtralModel(configuration: try #require(Self.configuration))
            let entries = sizes.values.reduce(0) { $0 + $1.0 * $1.1 }
            #expect(entries == 2 * whole.namedWeights().reduce(0) { $0 + $1.shape.reduce(1, *) })
            #expect(rows["model.layers.1.block_sparse_moe.experts.3.exp_avg_sq"] != nil)
            #expect(rows["lm_head.weight.exp_avg"] != nil)
        }
    }

    private final class OrderedSink: WeightSink {
        let memory = MemorySink()
        private(set) var names = [String]()

        func store(_ name: String, shape: [Int], _ values: Tensor) {
            names.append(name)
            memory.store(name, shape: shape, values)
        }
    }

    private struct FullSink: WeightSink {
        struct Failure: Error {}
        func store(_ name: String, shape: [Int], _ values: Tensor) throws { throw Failure() }
    }
}

extension StaticAllocator {
    fileprivate func firstPlan(for model: ExpertModel, worldSize: Int) throws -> PlacementPlan? {
        try allocateExperts(
            current: nil, model: model, cluster: Cluster(worldSize: worldSize), step: 0)
    }
}
