import ExpertPlacement

/// The experts of each rank in groups that it computes with one after the other, while rows that only the next ones need are on their
/// way. An expert's rows stay together: its products are what they would be.
package struct ExpertChunks {
    /// With more chunks less of an exchange is left that nothing hides, and messages are smaller.
    package static let most = 4

    /// Chunks of the rank with the most experts.
    package let count: Int
    /// By rank, then expert.
    private let chunks: [Int]
    let expertCount: Int

    /// - Parameter limit: the most chunks of a rank.
    package init(_ placement: LayerPlacement, worldSize: Int, limit: Int) {
        expertCount = placement.experts.count
        var members = [[Int]](repeating: [], count: worldSize)
        for (expert, placed) in placement.experts.enumerated() {
            for rank in placed.mesh.ranks { members[rank].append(expert) }
        }
        let count = max(1, min(limit, members.map(\.count).max() ?? 1))
        var chunks = [Int](repeating: 0, count: worldSize * expertCount)
        for (rank, members) in members.enumerated() {
            for (index, expert) in members.enumerated() {
                chunks[rank * expertCount + expert] = index * count / members.count
            }
        }
        self.count = count
        self.chunks = chunks
    }

    /// The chunk in which a rank computes with an expert.
    package subscript(rank: Int, expert: Int) -> Int { chunks[rank * expertCount + expert] }
}
