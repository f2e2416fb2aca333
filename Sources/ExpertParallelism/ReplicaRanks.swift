import ExpertPlacement

/// The ranks of every replica of a layer's experts, in one array, so that nothing is counted or copied a row.
struct ReplicaRanks {
    /// Ranks by expert, then replica, then shard.
    private let ranks: [Int32]
    /// Place of each expert's first rank.
    private let first: [Int]
    /// T of each expert.
    private let shards: [Int]

    init(_ placement: LayerPlacement) {
        var ranks = [Int32]()
        var first = [Int]()
        for expert in placement.experts {
            first.append(ranks.count)
            ranks += expert.mesh.ranks.map(Int32.init)
        }
        self.ranks = ranks
        self.first = first
        shards = placement.experts.map(\.mesh.tensorParallel)
    }

    /// Calls `body` with each rank that a pair with a replica goes to.
    @inline(__always)
    func forEach(expert: Int, replica: Int, _ body: (Int) -> Void) {
        let count = shards[expert]
        let start = first[expert] + replica * count
        for place in start..<start + count { body(Int(ranks[place])) }
    }
}
