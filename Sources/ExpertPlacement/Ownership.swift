/// A range of an expert's neurons on one rank.
public struct RankRange: Hashable, Sendable {
    public let rank: Int
    public let neurons: Range<Int>

    public init(rank: Int, neurons: Range<Int>) {
        self.rank = rank
        self.neurons = neurons
    }
}

extension ExpertPlacement {
    /// Which rank owns the optimizer state (master weights, moments) of which neurons, ascending, pieces without neurons
    /// left out. Co-located with the replicas, as veScale's: the neurons of a TP shard are cut evenly over its D replicas.
    public var owners: [RankRange] {
        (0..<mesh.tensorParallel).flatMap { shard in
            (0..<mesh.dataParallel).compactMap { replica in
                let piece = evenPart(replica, of: mesh.dataParallel, in: neurons(ofShard: shard))
                return piece.isEmpty ? nil : RankRange(rank: mesh.rank(replica: replica, shard: shard), neurons: piece)
            }
        }
    }

    /// The neurons whose optimizer state `rank` owns; empty when there are none.
    public func ownedNeurons(of rank: Int) -> Range<Int> {
        guard let (replica, shard) = mesh.position(of: rank) else { return 0..<0 }
        return evenPart(replica, of: mesh.dataParallel, in: neurons(ofShard: shard))
    }
}
