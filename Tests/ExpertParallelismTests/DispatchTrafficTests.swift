import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import PlacementInvariance
import Randomness
import Synchronization
import TestSupport
import Testing

/// What a pass through a layer sends.
@Suite struct DispatchTrafficTests {
    /// An expert of a token, and a rank that has a shard of it.
    private struct Choice {
        let token: Int
        let expert: Int
        let rank: Int
    }

    /// Keeps the ranks that each of a rank's tokens goes to, one for each of its experts.
    private final class ChoiceKeeper: TokenDispatcher {
        private let inner: RandomDispatcher
        private let kept = Mutex([Choice]())

        init(seed: UInt64) { inner = RandomDispatcher(seed: seed) }

        var choices: [Choice] { kept.withLock { $0 } }

        func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
            inner.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
        }

        func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
            let replicas = inner.assignTask(routing, placement: placement, origin: origin)
            for (row, replica) in replicas.enumerated() {
                let expert = Int(routing.experts[row])
                let mesh = placement.experts[expert].mesh
                for shard in 0..<mesh.tensorParallel {
                    let rank = mesh.rank(replica: replica, shard: shard)
                    let choice = Choice(token: Int(routing.tokens[row]), expert: expert, rank: rank)
                    kept.withLock { $0.append(choice) }
                }
            }
            return replicas
        }
    }

    /// What a rank sent in a forward and a backward pass, and its choices.
    private struct Traffic: Sendable {
        let forward: Int
        let backward: Int
        /// Entries with each exchange of either.
        let forwardEntries: [Int]
        let backwardEntries: [Int]
        let choices: [Choice]
    }

    private let block: BlockCase = {
        var block = BlockCase()
        block.expertsPerToken = 3
        block.widths = [3, 7, 1, 5, 2, 6]
        return block
    }()

    private func run(_ plan: PlacementPlan, overlap: Overlap, seed: UInt64) throws -> [Traffic] {
        try ThreadCommunicator.run(worldSize: plan.worldSize) { [block] group in
            let communicator = EagerCommunicator(group)
            let context = ExpertParallelContext(communicator: communicator, overlap: overlap)
            let sparse = block.block()
            let keeper = ChoiceKeeper(seed: seed)
            try parallelizeExperts(
                in: sparse, matching: "experts", allocator: StaticAllocator(.replicated), dispatcher: keeper,
                configuration: ParallelConfiguration(
                    layers: 1, expertsPerLayer: .perLayer([block.widths.count]), context: context, plan: plan))
            try sparse.loadWeights(from: block.weights)
            let own = evenPart(group.rank, of: group.size, in: 0..<block.tokens)
            context.firstToken = own.lowerBound
            _ = (context.takeBytesSent(), communicator.takeSent())
            _ = try sparse.forward(block.rows(own, purpose: "x"), savingForBackward: true)
            let (forward, forwardEntries) = (context.takeBytesSent(), communicator.takeSent())
            _ = try sparse.backward(block.rows(own, purpose: "dy"), probabilityGradient: nil)
            return Traffic(
                forward: forward, backward: context.takeBytesSent(), forwardEntries: forwardEntries,
                backwardEntries: communicator.takeSent(), choices: keeper.choices)
        }
    }

    /// A token's row goes to a rank once, whatever number of its experts is there, and returns once; so does its gradient. Besides there
    /// is for each rank the number of rows of every expert there, and for each of a token's experts its row, weight and the weight's gradient.
    @Test(arguments: [1, 2, 3, 5], [Overlap.dispatch, []]) func aTokensRowGoesToARankOnce(
        worldSize: Int, overlap: Overlap
    ) throws {
        let seed = TestRuns.seed("traffic on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for round in 0..<10 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            let traffic = try run(plan, overlap: overlap, seed: seed)
            let experts = (0..<worldSize).map { rank in plan.layers[0].experts.count { $0.mesh.ranks.contains(rank) } }
            /// Choices, and different tokens, from one rank to another.
            func pairs(_ source: Int, _ destination: Int) -> (all: Int, tokens: Int) {
                let chosen = traffic[source].choices.filter { $0.rank == destination }
                return (chosen.count, Set(chosen.map(\.token)).count)
            }
            for (rank, sent) in traffic.enumerated() {
                let others = (0..<worldSize).filter { $0 != rank }
                let leaving = others.map { pairs(rank, $0) }
                let arriving = others.map { pairs($0, rank) }
                let rows = (leaving + arriving).reduce(0) { $0 + $1.tokens }
                let numbers = others.reduce(0) { $0 + experts[$1] } + 2 * leaving.reduce(0) { $0 + $1.all }
                let situation = "rank \(rank), round \(round), seed \(seed), \(plan.layers[0].experts.map(\.mesh))"
                #expect(sent.forward == 4 * (rows * block.hiddenSize + numbers), "\(situation)")
                #expect(
                    sent.backward == 4 * (rows * block.hiddenSize + arriving.reduce(0) { $0 + $1.all }), "\(situation)")
            }
        }
    }

    /// It leaves with the first chunk that needs it, and returns with the last that adds to it.
    @Test(arguments: 2...4) func rowsTravelWithTheirChunks(worldSize: Int) throws {
        let seed = TestRuns.seed("chunks' traffic on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for round in 0..<10 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            let traffic = try run(plan, overlap: .dispatch, seed: seed)
            let shards = PlacedShards(plan.layers[0], worldSize: worldSize, mostChunks: 4)
            /// Chunks of the choices of each token that goes from one rank to another.
            func chunksByToken(_ source: Int, _ destination: Int) -> [[Int]] {
                let chosen = traffic[source].choices.filter { $0.rank == destination }
                return Dictionary(grouping: chosen, by: \.token).values.map { choices in
                    choices.map { choice in
                        let shard = shards.ranges[destination].first { shards.experts[$0] == choice.expert }
                        return shard.map { shards.chunks[$0] } ?? -1
                    }
                }
            }
            for (rank, sent) in traffic.enumerated() {
                let others = (0..<worldSize).filter { $0 != rank }
                let leaving = others.flatMap { chunksByToken(rank, $0) }
                let returning = others.flatMap { chunksByToken($0, rank) }
                // The next chunk's rows leave before the sums of one.
                var rows = [leaving.count { $0.min() == 0 }]
                for chunk in 0..<shards.chunkCount {
                    if chunk + 1 < shards.chunkCount { rows.append(leaving.count { $0.min() == chunk + 1 }) }
                    rows.append(returning.count { $0.max() == chunk })
                }
                let situation = "rank \(rank), round \(round), seed \(seed)"
                let entries = rows.map { $0 * block.hiddenSize }
                #expect(sent.forwardEntries == entries, "\(situation)")
                // Numbers of pairs leave before the last sums.
                let pairs = returning.reduce(0) { $0 + $1.count }
                #expect(sent.backwardEntries == entries.dropLast() + [pairs] + entries.suffix(1), "\(situation)")
            }
        }
    }
}
