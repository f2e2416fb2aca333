import HeapModule

extension ReplicaAssignment {
    /// Takes over the plan in force as far as the slots allow, tokens shared as best they can be.
    /// - Parameter fractions: shares to start from, which are nearly the best when loads have changed little; nil: even ones.
    mutating func adopt(_ current: [[Int]], fractions: [[Double]]? = nil) {
        func fits(_ expert: Int, _ rank: Int) -> Bool {
            slots.indices.contains(rank) && hasRoom(rank) && !holds(rank, expert)
                && (isSmall || replicaCount < replicaLimit)
        }
        // One replica of each expert first, then the further ones, those of heavy experts before others.
        for (expert, ranks) in current.enumerated() {
            if let rank = ranks.first(where: { fits(expert, $0) }) { add(expert, to: rank) }
        }
        let several = current.indices.filter { current[$0].count > 1 }
        for expert in several.sorted(by: { (loads[$0], $1) > (loads[$1], $0) }) {
            // As many nodes as can be, should there not be slots for all.
            for rank in current[expert] where fits(expert, rank) && !narrows(expert, with: rank) {
                add(expert, to: rank)
            }
            for rank in current[expert] where fits(expert, rank) { add(expert, to: rank) }
            spread(expert, over: current[expert], fractions?[expert])
        }
        // What found no slot, or is new, goes where there is most room.
        for expert in loads.indices.sorted(by: { (loads[$0], $1) > (loads[$1], $0) }) where replicas.count(expert) == 0
        {
            placeFirst(expert)
        }
        balance(tolerance: startingTolerance)
        // Of too many replicas those go that are missed least; where there are many, some were left out above.
        while replicaCount > replicaLimit, let spare = spares(seconds: rankSeconds).first {
            remove(spare.expert, from: spare.rank)
            balance()
        }
    }

    private mutating func placeFirst(_ expert: Int) {
        var best = -1
        for rank in slots.indices where hasRoom(rank) {
            if best < 0 || rankLoads[rank] * secondsPerRow[rank] < rankLoads[best] * secondsPerRow[best] { best = rank }
        }
        if best < 0 || replicaCount >= replicaLimit {
            // All slots are taken: the replica that can best be spared makes room. There is one, since all experts fit.
            guard let spare = spares(seconds: rankSeconds).first else { return }
            remove(spare.expert, from: spare.rank)
            best = spare.rank
        }
        add(expert, to: best)
    }

    /// Places everything anew: replica counts first, then the largest pieces first, each on the rank that stays
    /// fastest.
    ///
    /// - Parameters:
    ///   - mixing: in parts of the even load, how much busier than the least busy rank a rank may be and still be taken,
    ///     by a fixed pseudo-random order. Pieces of equal size otherwise pair the same experts again and again, and
    ///     fractions can then not carry load from one group of ranks to another.
    ///   - sparing: an expert to give a replica less than it would get, for others to have it.
    mutating func construct(mixing: Double = 0, sparing: Int? = nil) {
        let inverseGrain = secondsPerRow.reduce(0) { $0 + 1 / $1 } / (mixing * loads.reduce(0, +))
        var counts = replicaCounts()
        if let sparing { counts = replicaCounts(limiting: sparing, to: max(1, counts[sparing] - 1)) }
        let order = loads.indices.sorted { left, right in
            let (a, b) = (loads[left] / Double(counts[left]), loads[right] / Double(counts[right]))
            return a == b ? left < right : a > b
        }
        var search = FastestRanks(
            rankLoads: rankLoads, secondsPerRow: secondsPerRow, nodes: nodes, nodeCount: nodeCount,
            room: slots.indices.map { slots[$0] - residents.count($0) })
        for expert in order {
            let mixed = inverseGrain.isFinite && counts[expert] > 1
            // Ranks have room for an expert once, so those for all its pieces are found together.
            let ranks = search.take(
                counts[expert], for: expert, load: loads[expert], inverseGrain: mixed ? inverseGrain : nil)
            for rank in ranks { place(expert, on: rank, share: 1 / Double(ranks.count)) }
        }
        balance(tolerance: startingTolerance)
    }

    /// Puts up to three replicas elsewhere, by fixed pseudo-random numbers, and in every other round gives one of an
    /// expert's to another expert.
    mutating func shake(_ round: Int) {
        var draws = 0
        func draw(_ count: Int) -> Int {
            draws += 1
            return min(count - 1, Int(fixedFraction(round, draws) * Double(count)))
        }
        func drawnRank(_ expert: Int) -> Int {
            let range = replicas.range(expert)
            return replicas.elements[range.lowerBound + draw(range.count)].rank
        }
        let busy = loads.indices.filter { loads[$0] > 0 }
        if busy.isEmpty { return }
        for _ in 0..<1 + round % 3 {
            let (expert, rank) = (busy[draw(busy.count)], draw(slots.count))
            let old = drawnRank(expert)
            if holds(rank, expert) || narrows(expert, without: old, with: rank) { continue }
            if hasRoom(rank) {
                move(expert, from: old, to: rank)
            } else if let other = residents[rank].first(where: {
                !holds(old, $0) && !narrows($0, without: rank, with: old)
            }) {
                move(other, from: rank, to: old)
                move(expert, from: old, to: rank)
            }
        }
        let (giver, taker, rank) = (draw(loads.count), busy[draw(busy.count)], draw(slots.count))
        if round % 2 == 0, giver != taker, replicas.count(giver) > 1, !holds(rank, taker), !narrows(taker, with: rank) {
            let given = holds(rank, giver) ? rank : drawnRank(giver)
            if !narrows(giver, without: given), given == rank || hasRoom(rank) {
                remove(giver, from: given)
                add(taker, to: rank)
            }
        }
        balance()
    }

    /// Replicas for each expert: as many as its rows need at the even load, then one by one where they relieve most.
    func replicaCounts(limiting limited: Int? = nil, to most: Int = 0) -> [Int] {
        let worldSize = slots.count
        var counts = [Int](repeating: 1, count: loads.count)
        var rest = replicaLimit - loads.count
        let largest = 0.75 * loads.reduce(0, +) / Double(worldSize)
        let urgent = loads.reduce(0, +) + breadth * (variances.max() ?? 0).squareRoot()
        // What a further replica is worth.
        func worth(_ expert: Int) -> Double {
            let count = Double(counts[expert])
            if counts[expert] >= worldSize || expert == limited && counts[expert] >= most { return -1 }
            let piece = loads[expert] / count
            // Large pieces come first, else no fractions can be even; somewhat below the even load they leave room
            // for others.
            if piece > largest { return piece + urgent }
            return piece + breadth * (variances[expert] / (count * (count + 1))).squareRoot()
        }
        var heap = Heap(loads.indices.map { Heaviest(weight: worth($0), index: $0) })
        while rest > 0, let first = heap.min, first.weight >= 0 {
            counts[first.index] += 1
            heap.replaceMin(with: Heaviest(weight: worth(first.index), index: first.index))
            rest -= 1
        }
        return counts
    }
}
