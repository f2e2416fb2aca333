/// What the ranks compute of one layer in a step, for given loads.
public struct RankWork: Hashable, Sendable {
    /// Rows of each rank, W entries: a row counts at every shard that it visits.
    public private(set) var rows: [Double]
    /// Rows times the neurons they meet, W entries.
    public private(set) var work: [Double]

    public init(worldSize: Int) {
        rows = [Double](repeating: 0, count: worldSize)
        work = rows
    }

    /// Adds a layer.
    /// - Parameter loads: rows of each expert.
    public mutating func add(_ layer: LayerPlacement, loads: [Double]) {
        for (placement, load) in zip(layer.experts, loads) {
            let mesh = placement.mesh
            for replica in 0..<mesh.dataParallel {
                let rows = load * placement.fraction(ofReplica: replica)
                for shard in 0..<mesh.tensorParallel {
                    let rank = mesh.rank(replica: replica, shard: shard)
                    self.rows[rank] += rows
                    work[rank] += rows * Double(placement.neurons(ofShard: shard).count)
                }
            }
        }
    }
}
