import HeapModule

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
        var lightest = Heap((0..<count).map { Lightest(weight: Float(0), index: $0) })
        var filled = [Int](repeating: 0, count: count)
        // Swift's sort is stable, but does not promise it: the index decides between equals.
        let order = weights.indices.sorted { (weights[$0], $1) > (weights[$1], $0) }
        for item in order {
            guard var pack = lightest.min else { break }
            packs[item] = pack.index
            positions[item] = filled[pack.index]
            filled[pack.index] += 1
            pack.weight += weights[item]
            if filled[pack.index] < size { lightest.replaceMin(with: pack) } else { lightest.removeMin() }
        }
        self.packs = packs
        self.positions = positions
    }
}
