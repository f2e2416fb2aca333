import ExpertPlacement

/// The shards of a layer's experts, numbered by rank, then expert, with the chunk in which their rank computes with them: one chunk after
/// the other, while rows that only the next ones need are on their way. An expert's rows stay together: its products are what they would be.
package struct PlacedShards {
    /// With more chunks less of an exchange is left that nothing hides, where a token has few experts on a rank, and messages are smaller.
    package static let mostChunks = 4

    /// Shards of each rank, W entries.
    package let ranges: [Range<Int>]
    /// The expert of each shard.
    package let experts: [Int]
    /// The chunk of each shard.
    package let chunks: [Int]
    /// Chunks of the rank with the most experts.
    package let chunkCount: Int
    /// The shards of every replica of each expert, in one array, so that nothing is counted or copied a row.
    private let replicas: [Int32]
    /// Place of each expert's first shard there, and the end.
    private let first: [Int]
    /// T of each expert.
    private let tensorParallel: [Int]

    /// - Parameter mostChunks: of a rank.
    package init(_ placement: LayerPlacement, worldSize: Int, mostChunks: Int) {
        var members = [[Int]](repeating: [], count: worldSize)
        for (expert, placed) in placement.experts.enumerated() {
            for rank in placed.mesh.ranks { members[rank].append(expert) }
        }
        ranges = members.map(\.count).consecutiveRanges
        experts = members.flatMap { $0 }
        let chunkCount = max(1, min(mostChunks, members.map(\.count).max() ?? 1))
        self.chunkCount = chunkCount
        chunks = members.flatMap { experts in experts.indices.map { $0 * chunkCount / experts.count } }

        // Experts come in their order, so each is the next of its ranks.
        var next = ranges.map(\.lowerBound)
        var replicas = [Int32]()
        var first = [Int]()
        for expert in placement.experts {
            first.append(replicas.count)
            for rank in expert.mesh.ranks {
                replicas.append(Int32(truncatingIfNeeded: next[rank]))
                next[rank] += 1
            }
        }
        (self.replicas, self.first) = (replicas, first + [replicas.count])
        tensorParallel = placement.experts.map(\.mesh.tensorParallel)
    }

    /// Calls `body` with each shard of a replica.
    @inline(__always)
    func forEach(expert: Int, replica: Int, _ body: (Int) -> Void) {
        let count = tensorParallel[expert]
        let start = first[expert] + replica * count
        precondition(replica >= 0 && start + count <= first[expert + 1], "the dispatcher chose a replica that is none")
        for place in start..<start + count { body(Int(replicas[place])) }
    }

    /// Pairs of each chunk of a rank.
    /// - Parameter counts: pairs of each shard of the rank.
    func pairCounts(_ counts: ArraySlice<Int32>, of rank: Int) -> [Int] {
        var sums = [Int](repeating: 0, count: chunkCount)
        for (chunk, count) in zip(chunks[ranges[rank]], counts) { sums[chunk] += Int(count) }
        return sums
    }
}
