import ExpertPlacement
import Layers
import Randomness

/// Sends each row to the replica whose busiest rank has the least to do of what this rank has sent so far, all experts of
/// the layer together. A row costs each rank of a replica the neurons that it holds.
///
/// A rank sees its own rows only; when each spreads its rows evenly, so are all. Deterministic: between equals a draw
/// decides, which depends on seed, step, layer, rank and expert. Obeys the plan's fractions in so far as a replica with the
/// fraction 0 gets nothing.
public struct LeastLoadedDispatcher: TokenDispatcher {
    private let single: RandomDispatcher
    private var choices = PlacementCache<Choices>()

    public init(seed: UInt64) {
        single = RandomDispatcher(seed: seed)
    }

    /// For one pair alone all replicas are idle: picks at random by the fractions.
    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        single.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
    }

    public mutating func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        let generator = CounterBasedGenerator(
            seed: single.seed, purpose: "least-loaded dispatch", keys: [origin.step, origin.layer, origin.rank])
        let choices = choices.value(for: placement, Choices.init)
        var work = [Int](repeating: 0, count: choices.ranks)
        // Where there is no choice, the work is known before any is made.
        for (replicas, rows) in zip(choices.replicas, routing.expertLoads) where replicas.count == 1 {
            replicas[0].add(rows, to: &work)
        }
        // By expert: the replica that wins between equals.
        let first = choices.replicas.enumerated().map { expert, replicas in
            replicas.count == 1 ? 0 : Int(generator.bits(at: UInt64(expert)) % UInt64(replicas.count))
        }
        return routing.experts.map { expert in
            let replicas = choices.replicas[Int(expert)]
            if replicas.count == 1 { return replicas[0].index }
            let start = first[Int(expert)]
            var (best, least) = (0, Int.max)
            for offset in replicas.indices {
                let place = start + offset < replicas.count ? start + offset : start + offset - replicas.count
                let busiest = replicas[place].busiest(work)
                if busiest < least { (best, least) = (place, busiest) }
            }
            replicas[best].add(1, to: &work)
            return replicas[best].index
        }
    }

    private struct Choices {
        /// By expert: the replicas that take rows.
        let replicas: [[Replica]]
        /// One more than the highest rank.
        let ranks: Int

        init(_ experts: [ExpertPlacement]) {
            replicas = experts.map { placement in
                (0..<placement.mesh.dataParallel).filter { placement.fraction(ofReplica: $0) > 0 }
                    .map { Replica(placement, index: $0) }
            }
            ranks = (experts.lazy.flatMap(\.mesh.ranks).max() ?? 0) + 1
        }
    }

    private struct Replica {
        let index: Int
        /// Its ranks with the neurons that each holds.
        private let shards: [(rank: Int, neurons: Int)]

        init(_ placement: ExpertPlacement, index: Int) {
            self.index = index
            shards = placement.mesh.ranks(ofReplica: index).enumerated().map { shard, rank in
                (rank, placement.neurons(ofShard: shard).count)
            }
        }

        /// What its busiest rank has to do once it has a further row.
        func busiest(_ work: [Int]) -> Int {
            shards.reduce(0) { max($0, work[$1.rank] + $1.neurons) }
        }

        func add(_ rows: Int, to work: inout [Int]) {
            for (rank, neurons) in shards { work[rank] += rows * neurons }
        }
    }
}
