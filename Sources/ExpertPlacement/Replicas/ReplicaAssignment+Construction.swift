extension ReplicaAssignment {
    /// Takes over the plan in force as far as the slots allow, tokens shared as best they can be.
    mutating func adopt(_ current: [[Int]]) {
        func fits(_ expert: Int, _ rank: Int) -> Bool {
            slots.indices.contains(rank) && residents[rank].count < slots[rank] && !holds(rank, expert)
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
            spreadEvenly(expert)
        }
        // What found no slot, or is new, goes where there is most room.
        for expert in loads.indices.sorted(by: { (loads[$0], $1) > (loads[$1], $0) }) where replicas[expert].isEmpty {
            placeFirst(expert)
        }
        balance()
        // Of too many replicas those go that are missed least; where there are many, some were left out above.
        while replicaCount > replicaLimit, let spare = spares(seconds: rankSeconds).first {
            remove(spare.expert, from: spare.rank)
            balance()
        }
    }

    private mutating func spreadEvenly(_ expert: Int) {
        if replicas[expert].isEmpty { return }
        let share = 1 / Double(replicas[expert].count)
        for index in replicas[expert].indices {
            let replica = replicas[expert][index]
            rankLoads[replica.rank] += (share - replica.share) * loads[expert]
            replicas[expert][index].share = share
        }
    }

    private mutating func placeFirst(_ expert: Int) {
        var best = -1
        for rank in slots.indices where residents[rank].count < slots[rank] {
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
        for expert in order {
            let piece = loads[expert] / Double(counts[expert])
            let mixed = inverseGrain.isFinite && counts[expert] > 1
            // Ranks have room for an expert once, so those for all its pieces are found together.
            let ranks = fastest(counts[expert], for: expert, piece: piece, inverseGrain: mixed ? inverseGrain : nil)
            for rank in ranks {
                replicas[expert].append(Replica(rank: rank, share: 1 / Double(ranks.count)))
                residents[rank].append(expert)
                rankLoads[rank] += loads[expert] / Double(ranks.count)
                replicaCount += 1
            }
        }
        balance()
    }

    /// The ranks with room that would be done first with `piece` more of an expert that none holds yet; as many on different
    /// nodes as there are nodes. Fewer than `count` when others have no room.
    private func fastest(_ count: Int, for expert: Int, piece: Double, inverseGrain: Double?) -> [Int] {
        var best = FastestRanks(count: count)
        var bestOfNodes = [FastestRanks](repeating: FastestRanks(count: 1), count: nodes == nil ? 0 : nodeCount)
        for rank in slots.indices where residents[rank].count < slots[rank] {
            let seconds = (rankLoads[rank] + piece) * secondsPerRow[rank]
            let level = inverseGrain.map { (seconds * $0).rounded(.down) } ?? seconds
            let order = { inverseGrain == nil ? 0 : Self.order(expert, rank) }
            best.offer(rank, level: level, order: order)
            if let nodes { bestOfNodes[nodes[rank]].offer(rank, level: level, order: order) }
        }
        guard nodes != nil else { return best.ranks }
        var spread = FastestRanks(count: min(count, nodeCount))
        for node in bestOfNodes {
            for entry in node.entries { spread.offer(entry.rank, level: entry.level, order: { entry.order }) }
        }
        let others = best.ranks.filter { !spread.ranks.contains($0) }
        return spread.ranks + others.prefix(count - spread.ranks.count)
    }

    /// A few ranks with the lowest level, of equals those that come first in some order, and then by their numbers.
    private struct FastestRanks {
        let count: Int
        private(set) var entries = [(rank: Int, level: Double, order: Double)]()

        init(count: Int) { self.count = count }

        var ranks: [Int] { entries.map(\.rank) }

        mutating func offer(_ rank: Int, level: Double, order: () -> Double) {
            if entries.count == count, level > entries[count - 1].level { return }
            let order = order()
            var index = entries.count
            while index > 0, (level, order) < (entries[index - 1].level, entries[index - 1].order) { index -= 1 }
            if index == count { return }
            if entries.count == count { entries.removeLast() }
            entries.insert((rank, level, order), at: index)
        }
    }

    /// Puts up to three replicas elsewhere, by fixed pseudo-random numbers, and in every other round gives one of an
    /// expert's to another expert.
    mutating func shake(_ round: Int) {
        var draws = 0
        func draw(_ count: Int) -> Int {
            draws += 1
            return min(count - 1, Int(Self.order(round, draws) * Double(count)))
        }
        let busy = loads.indices.filter { loads[$0] > 0 }
        if busy.isEmpty { return }
        for _ in 0..<1 + round % 3 {
            let (expert, rank) = (busy[draw(busy.count)], draw(slots.count))
            let old = replicas[expert][draw(replicas[expert].count)].rank
            if holds(rank, expert) || narrows(expert, without: old, with: rank) { continue }
            if residents[rank].count < slots[rank] {
                move(expert, from: old, to: rank)
            } else if let other = residents[rank].first(where: {
                !holds(old, $0) && !narrows($0, without: rank, with: old)
            }) {
                move(other, from: rank, to: old)
                move(expert, from: old, to: rank)
            }
        }
        let (giver, taker, rank) = (draw(loads.count), busy[draw(busy.count)], draw(slots.count))
        if round % 2 == 0, giver != taker, replicas[giver].count > 1, !holds(rank, taker), !narrows(taker, with: rank) {
            let given = holds(rank, giver) ? rank : replicas[giver][draw(replicas[giver].count)].rank
            if !narrows(giver, without: given), given == rank || residents[rank].count < slots[rank] {
                remove(giver, from: given)
                add(taker, to: rank)
            }
        }
        balance()
    }

    /// A fixed number in 0 ..< 1 for a pair, as good as random (the finalizer of SplitMix64).
    private static func order(_ expert: Int, _ rank: Int) -> Double {
        var z = UInt64(truncatingIfNeeded: expert) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: rank)
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
    }

    /// Replicas for each expert: as many as its rows need at the even load, then one by one where they relieve most.
    func replicaCounts(limiting limited: Int? = nil, to most: Int = 0) -> [Int] {
        let worldSize = slots.count
        var counts = [Int](repeating: 1, count: loads.count)
        var rest = replicaLimit - loads.count
        let largest = 0.75 * loads.reduce(0, +) / Double(worldSize)
        let urgent = loads.reduce(0, +) + breadth * (variances.max() ?? 0).squareRoot()
        // A binary heap keyed by what a further replica is worth.
        func worth(_ expert: Int) -> Double {
            let count = Double(counts[expert])
            if counts[expert] >= worldSize || expert == limited && counts[expert] >= most { return -1 }
            let piece = loads[expert] / count
            // Large pieces come first, else no fractions can be even; somewhat below the even load they leave room
            // for others.
            if piece > largest { return piece + urgent }
            return piece + breadth * (variances[expert] / (count * (count + 1))).squareRoot()
        }
        var heap = [(worth: Double, expert: Int)]()
        heap.reserveCapacity(loads.count)
        for expert in loads.indices { heap.append((worth(expert), expert)) }
        func before(_ a: (worth: Double, expert: Int), _ b: (worth: Double, expert: Int)) -> Bool {
            a.worth == b.worth ? a.expert < b.expert : a.worth > b.worth
        }
        func sink(_ start: Int) {
            var index = start
            while true {
                var child = 2 * index + 1
                if child >= heap.count { return }
                if child + 1 < heap.count, before(heap[child + 1], heap[child]) { child += 1 }
                if before(heap[index], heap[child]) { return }
                heap.swapAt(index, child)
                index = child
            }
        }
        for index in stride(from: heap.count / 2, through: 0, by: -1) where index < heap.count { sink(index) }
        while rest > 0, heap[0].worth >= 0 {
            counts[heap[0].expert] += 1
            heap[0].worth = worth(heap[0].expert)
            sink(0)
            rest -= 1
        }
        return counts
    }
}
