/// Items in packs of equal size whose weights are as even as a greedy choice makes them: heaviest first, each into the
/// lightest pack with room, the first of equals.
struct BalancedPacking {
    /// Pack of each item.
    let packs: [Int]
    /// Place of each item in its pack, from 0.
    let positions: [Int]

    /// - Precondition: `packs` divides the number of weights.
    init(_ weights: [Float], packs count: Int) {
        let size = weights.count / count
        if size == 1 {
            // One item a pack: they stay in their order.
            packs = Array(weights.indices)
            positions = [Int](repeating: 0, count: weights.count)
            return
        }
        var packs = [Int](repeating: 0, count: weights.count)
        var positions = packs
        var sums = [Float](repeating: 0, count: count)
        var filled = [Int](repeating: 0, count: count)
        // Swift's sort is stable, but does not promise it: the index decides between equals.
        let order = weights.indices.sorted { (weights[$0], $1) > (weights[$1], $0) }
        for item in order {
            var best = -1
            for pack in 0..<count where filled[pack] < size && (best < 0 || sums[pack] < sums[best]) { best = pack }
            packs[item] = best
            positions[item] = filled[best]
            sums[best] += weights[item]
            filled[best] += 1
        }
        self.packs = packs
        self.positions = positions
    }
}
