/// Finds ranks for one expert after the other: those that would be done first with a piece of it more, as many on different
/// nodes as there are nodes. This is where making plans for many ranks spends its time.
struct FastestRanks {
    /// Ranks, node by node; what follows is in their order.
    private let ranks: [Int]
    private let secondsPerRow: [Double]
    /// Experts that each has room for.
    private var room: [Int]
    /// How soon each would be done; infinite where it has no room.
    private var levels: [Double]
    /// Levels and orders added up: of two ranks the one with the lower sum is never the worse one, but sums may be equal
    /// where levels and orders are not.
    private var sums: [Double]
    /// Where nodes begin, and the end of the last.
    private let bounds: [Int]
    /// Ranks that were taken for being the best of their nodes, by node, -1 where none was.
    private var firsts: [Int]
    /// Node of each rank, by rank.
    private let nodes: [Int]

    /// - Parameters:
    ///   - nodes: of each rank, counted from 0; nil: all are on one.
    ///   - room: experts that each rank has room for.
    init(secondsPerRow: [Double], nodes: [Int]?, nodeCount: Int, room: [Int]) {
        let nodes = nodes ?? [Int](repeating: 0, count: room.count)
        let ranks = room.indices.sorted { (nodes[$0], $0) < (nodes[$1], $1) }
        self.nodes = nodes
        self.ranks = ranks
        self.secondsPerRow = ranks.map { secondsPerRow[$0] }
        self.room = ranks.map { room[$0] }
        levels = [Double](repeating: 0, count: ranks.count)
        sums = levels
        var bounds = [Int](repeating: 0, count: nodeCount + 1)
        for node in nodes { bounds[node + 1] += 1 }
        for node in 0..<nodeCount { bounds[node + 1] += bounds[node] }
        self.bounds = bounds
        firsts = [Int](repeating: -1, count: nodeCount)
    }

    /// Takes ranks for pieces of an expert that none holds yet, fewer than `count` when others have no room.
    /// - Parameters:
    ///   - rankLoads: rows of each rank.
    ///   - inverseGrain: levels count in whole ones of this many parts of a second, and among equal ones a fixed
    ///     pseudo-random order decides; nil: levels count as they are.
    /// - Returns: of equals those first that come first in that order, and then by their numbers.
    mutating func take(
        _ count: Int, for expert: Int, piece: Double, rankLoads: [Double], inverseGrain: Double?
    ) -> [Int] {
        Self.measure(&levels, piece, rankLoads, ranks, secondsPerRow, room)
        if let inverseGrain { Self.mix(&sums, &levels, expert, ranks, inverseGrain: inverseGrain) }
        let isMixed = inverseGrain != nil
        let (best, spread) = search(count, for: expert, isMixed ? sums : levels, isMixed: isMixed)
        for entry in spread.entries { firsts[nodes[ranks[entry.place]]] = entry.place }
        var places = spread.entries.map(\.place)
        for entry in best.entries where places.count < count && firsts[nodes[ranks[entry.place]]] != entry.place {
            places.append(entry.place)
        }
        for entry in spread.entries { firsts[nodes[ranks[entry.place]]] = -1 }
        for place in places { room[place] -= 1 }
        return places.map { ranks[$0] }
    }

    private static func measure(
        _ levels: inout [Double], _ piece: Double, _ rankLoads: [Double], _ ranks: [Int], _ secondsPerRow: [Double],
        _ room: [Int]
    ) {
        let (rankLoads, ranks, secondsPerRow, room) = (rankLoads.span, ranks.span, secondsPerRow.span, room.span)
        var levels = levels.mutableSpan
        precondition(ranks.count == levels.count && secondsPerRow.count == levels.count && room.count == levels.count)
        for place in levels.indices {
            let level = (rankLoads[ranks[place]] + piece) * secondsPerRow[place]
            levels[place] = room[place] > 0 ? level : .infinity
        }
    }

    private static func mix(
        _ sums: inout [Double], _ levels: inout [Double], _ expert: Int, _ ranks: [Int], inverseGrain: Double
    ) {
        let ranks = ranks.span
        var levels = levels.mutableSpan
        var sums = sums.mutableSpan
        precondition(ranks.count == levels.count && sums.count == levels.count)
        for place in levels.indices {
            let level = (levels[place] * inverseGrain).rounded(.down)
            levels[place] = level
            sums[place] = level + fixedFraction(expert, ranks[place])
        }
    }

    /// - Returns: the best ranks whatever their nodes, and the best of those that are the best of their nodes.
    private func search(
        _ count: Int, for expert: Int, _ sums: [Double], isMixed: Bool
    ) -> (best: LeastFew<RankLevel>, spread: LeastFew<RankLevel>) {
        var best = LeastFew<RankLevel>(count: count)
        var spread = LeastFew<RankLevel>(count: min(count, firsts.count))
        // No rank with a larger sum is among them.
        var (bestSum, spreadSum) = (Double.infinity, Double.infinity)
        let (levels, sums, ranks, bounds) = (levels.span, sums.span, ranks.span, bounds.span)
        for node in 0..<bounds.count - 1 {
            let places = bounds[node]..<bounds[node + 1]
            var least = Double.infinity
            for place in places { least = min(least, sums[place]) }
            // Most nodes are passed over by their best rank alone.
            guard least <= max(bestSum, spreadSum), least < .infinity else { continue }
            var first: RankLevel?
            for place in places where sums[place] <= max(bestSum, least) && sums[place] < .infinity {
                let entry = RankLevel(
                    level: levels[place], order: isMixed ? fixedFraction(expert, ranks[place]) : 0, rank: ranks[place],
                    place: place)
                if sums[place] <= bestSum, best.offer(entry), let last = best.last { bestSum = sums[last.place] }
                if sums[place] == least, first.map({ entry < $0 }) ?? true { first = entry }
            }
            if let first, spread.offer(first), let last = spread.last { spreadSum = sums[last.place] }
        }
        return (best, spread)
    }
}

/// How soon a rank would be done.
private struct RankLevel: Comparable {
    let level: Double
    let order: Double
    let rank: Int
    /// Where it stands among the ranks.
    let place: Int

    static func < (a: RankLevel, b: RankLevel) -> Bool { (a.level, a.order, a.rank) < (b.level, b.order, b.rank) }
}

/// A fixed number in 0 ..< 1 for a pair, as good as random (the finalizer of SplitMix64).
func fixedFraction(_ a: Int, _ b: Int) -> Double {
    var z = UInt64(truncatingIfNeeded: a) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: b)
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
}
