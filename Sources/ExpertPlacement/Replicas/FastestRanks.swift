/// Finds ranks for one expert after the other: those that would be done first with a piece of it more, as many on different
/// nodes as there are nodes. This is where making plans for many ranks spends its time.
struct FastestRanks {
    /// Ranks, node by node; what follows is in their order.
    private let ranks: [Int]
    private let secondsPerRow: [Double]
    /// Experts that each has room for.
    private var room: [Int]
    /// Rows of each; infinite where it has no room.
    private var rows: [Double]
    /// How soon each would be done.
    private var levels: [Double]
    /// Where nodes begin, and the end of the last.
    private let bounds: [Int]
    /// Ranks that were taken for being the best of their nodes, by node, -1 where none was.
    private var firsts: [Int]
    /// Node of each rank, by rank.
    private let nodes: [Int]

    /// - Parameters:
    ///   - rankLoads: rows that each rank has already.
    ///   - nodes: of each rank, counted from 0; nil: all are on one.
    ///   - room: experts that each rank has room for.
    init(rankLoads: [Double], secondsPerRow: [Double], nodes: [Int]?, nodeCount: Int, room: [Int]) {
        let nodes = nodes ?? [Int](repeating: 0, count: room.count)
        let ranks = room.indices.sorted { (nodes[$0], $0) < (nodes[$1], $1) }
        self.nodes = nodes
        self.ranks = ranks
        self.secondsPerRow = ranks.map { secondsPerRow[$0] }
        self.room = ranks.map { room[$0] }
        rows = ranks.map { room[$0] > 0 ? rankLoads[$0] : .infinity }
        levels = [Double](repeating: 0, count: ranks.count)
        var bounds = [Int](repeating: 0, count: nodeCount + 1)
        for node in nodes { bounds[node + 1] += 1 }
        for node in 0..<nodeCount { bounds[node + 1] += bounds[node] }
        self.bounds = bounds
        firsts = [Int](repeating: -1, count: nodeCount)
    }

    /// Takes ranks for pieces of an expert that none holds yet, fewer than `count` when others have no room.
    /// - Parameters:
    ///   - load: rows of the expert, in equal pieces.
    ///   - inverseGrain: levels count in whole ones of this many parts of a second, and among equal ones a fixed
    ///     pseudo-random order decides; nil: levels count as they are.
    /// - Returns: of equals those first that come first in that order, and then by their numbers.
    mutating func take(_ count: Int, for expert: Int, load: Double, inverseGrain: Double?) -> [Int] {
        Self.measure(&levels, rows, load / Double(count), secondsPerRow)
        if let inverseGrain { Self.round(&levels, inverseGrain) }
        let isMixed = inverseGrain != nil
        let spread = bestOfNodes(count, for: expert, isMixed: isMixed)
        var places = spread.entries.map(\.place)
        // More pieces than nodes that have room.
        if places.count < count {
            for place in places { firsts[nodes[ranks[place]]] = place }
            let best = best(count, for: expert, isMixed: isMixed)
            for entry in best.entries where places.count < count && firsts[nodes[ranks[entry.place]]] != entry.place {
                places.append(entry.place)
            }
            for entry in spread.entries { firsts[nodes[ranks[entry.place]]] = -1 }
        }
        let share = 1 / Double(places.count)
        for place in places {
            room[place] -= 1
            rows[place] = room[place] > 0 ? rows[place] + share * load : .infinity
        }
        return places.map { ranks[$0] }
    }

    private static func measure(_ levels: inout [Double], _ rows: [Double], _ piece: Double, _ secondsPerRow: [Double])
    {
        let (rows, secondsPerRow) = (rows.span, secondsPerRow.span)
        var levels = levels.mutableSpan
        precondition(rows.count == levels.count && secondsPerRow.count == levels.count)
        for place in levels.indices { levels[place] = (rows[place] + piece) * secondsPerRow[place] }
    }

    private static func round(_ levels: inout [Double], _ inverseGrain: Double) {
        var levels = levels.mutableSpan
        for place in levels.indices { levels[place] = (levels[place] * inverseGrain).rounded(.down) }
    }

    /// The best of the ranks that are the best of their nodes.
    private func bestOfNodes(_ count: Int, for expert: Int, isMixed: Bool) -> LeastFew<RankLevel> {
        var best = LeastFew<RankLevel>(count: min(count, firsts.count))
        var bestSum = Double.infinity
        let (levels, ranks, bounds) = (levels.span, ranks.span, bounds.span)
        for node in 0..<bounds.count - 1 {
            let places = bounds[node]..<bounds[node + 1]
            var least = Double.infinity
            for place in places { least = min(least, levels[place]) }
            // Most nodes are passed over by their least level alone.
            guard least <= bestSum, least < .infinity else { continue }
            var order = Double.infinity
            // Without branches, which nobody could predict.
            for place in places {
                let fraction = isMixed ? fixedFraction(expert, ranks[place]) : 0
                order = min(order, levels[place] > least ? .infinity : fraction)
            }
            guard least + order <= bestSum else { continue }
            for place in places where levels[place] == least {
                if isMixed, fixedFraction(expert, ranks[place]) != order { continue }
                let entry = RankLevel(level: least, order: order, rank: ranks[place], place: place)
                if best.offer(entry), let last = best.last { bestSum = last.sum }
                break
            }
        }
        return best
    }

    /// The best ranks, whatever their nodes.
    private func best(_ count: Int, for expert: Int, isMixed: Bool) -> LeastFew<RankLevel> {
        var best = LeastFew<RankLevel>(count: count)
        var bestSum = Double.infinity
        let (levels, ranks) = (levels.span, ranks.span)
        for place in levels.indices where levels[place] <= bestSum && levels[place] < .infinity {
            let order = isMixed ? fixedFraction(expert, ranks[place]) : 0
            let entry = RankLevel(level: levels[place], order: order, rank: ranks[place], place: place)
            if entry.sum <= bestSum, best.offer(entry), let last = best.last { bestSum = last.sum }
        }
        return best
    }
}

/// How soon a rank would be done.
private struct RankLevel: Comparable {
    let level: Double
    let order: Double
    let rank: Int
    /// Where it stands among the ranks.
    let place: Int

    /// Of two ranks the one with the lower sum is never the worse one, but sums may be equal where levels and orders are not: no rank
    /// with a larger sum than the last of the best is among them, nor one whose level alone is larger.
    var sum: Double { level + order }

    static func < (a: RankLevel, b: RankLevel) -> Bool { (a.level, a.order, a.rank) < (b.level, b.order, b.rank) }
}

/// A fixed number in 0 ..< 1 for a pair, as good as random (the finalizer of SplitMix64).
func fixedFraction(_ a: Int, _ b: Int) -> Double {
    var z = UInt64(truncatingIfNeeded: a) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: b)
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
}
