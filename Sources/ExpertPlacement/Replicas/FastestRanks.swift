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
    /// Of two ranks the one with the lower key is taken.
    private var keys: [Double]
    /// Where nodes begin, and the end of the last.
    private let bounds: [Int]
    /// Ranks that were taken for being the best of their nodes, by node, -1 where none was.
    private var firsts: [Int]
    /// Node of each rank, by rank.
    private let nodes: [Int]
    /// A fixed pseudo-random number for each rank.
    private let hashes: [UInt32]

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
        keys = [Double](repeating: 0, count: ranks.count)
        hashes = ranks.map { UInt32(truncatingIfNeeded: fixedBits(2, $0)) }
        var bounds = [Int](repeating: 0, count: nodeCount + 1)
        for node in nodes { bounds[node + 1] += 1 }
        for node in 0..<nodeCount { bounds[node + 1] += bounds[node] }
        self.bounds = bounds
        firsts = [Int](repeating: -1, count: nodeCount)
    }

    /// Takes ranks for pieces of an expert that none holds yet, fewer than `count` when others have no room.
    /// - Parameters:
    ///   - load: rows of the expert, in equal pieces.
    ///   - inverseGrain: the times at which ranks would be done count in whole ones of this many parts of a second, and among
    ///     equal ones a fixed pseudo-random order decides; nil: they count as they are.
    /// - Returns: of equals those first that come first in that order, and then by their numbers.
    mutating func take(_ count: Int, for expert: Int, load: Double, inverseGrain: Double?) -> [Int] {
        Self.measure(&keys, rows, load / Double(count), secondsPerRow)
        if let inverseGrain {
            Self.mix(&keys, inverseGrain, hashes, UInt32(truncatingIfNeeded: fixedBits(1, expert)) | 1)
        }
        var places = bounds.count > 2 ? bestOfNodes(count) : []
        // More pieces than nodes that have room.
        if places.count < count {
            for place in places { firsts[nodes[ranks[place]]] = place }
            let spread = places
            for place in best(count) where places.count < count && firsts[nodes[ranks[place]]] != place {
                places.append(place)
            }
            for place in spread { firsts[nodes[ranks[place]]] = -1 }
        }
        let share = 1 / Double(places.count)
        for place in places {
            room[place] -= 1
            rows[place] = room[place] > 0 ? rows[place] + share * load : .infinity
        }
        return places.map { ranks[$0] }
    }

    private static func measure(_ keys: inout [Double], _ rows: [Double], _ piece: Double, _ secondsPerRow: [Double]) {
        let (rows, secondsPerRow) = (rows.span, secondsPerRow.span)
        var keys = keys.mutableSpan
        precondition(rows.count == keys.count && secondsPerRow.count == keys.count)
        for place in keys.indices { keys[place] = (rows[place] + piece) * secondsPerRow[place] }
    }

    /// Rounds keys to whole ones, and adds less than one to each, which decides between equals.
    /// - Parameter factor: odd; products with it order the hashes differently for each (multiply-shift hashing).
    private static func mix(_ keys: inout [Double], _ inverseGrain: Double, _ hashes: [UInt32], _ factor: UInt32) {
        let hashes = hashes.span
        var keys = keys.mutableSpan
        precondition(hashes.count == keys.count)
        for place in keys.indices {
            let order = Double(Int32(bitPattern: (hashes[place] &* factor) >> 1)) * 0x1p-31
            keys[place] = (keys[place] * inverseGrain).rounded(.down) + order
        }
    }

    /// Places of the best of the ranks that are the best of their nodes.
    private func bestOfNodes(_ count: Int) -> [Int] {
        var best = LeastFew<RankKey>(count: min(count, firsts.count))
        var last = Double.infinity
        let (keys, ranks, bounds) = (keys.span, ranks.span, bounds.span)
        for node in 0..<bounds.count - 1 {
            let places = bounds[node]..<bounds[node + 1]
            var least = Double.infinity
            for place in places { least = min(least, keys[place]) }
            // Most nodes are passed over by their least key alone.
            guard least <= last, least < .infinity else { continue }
            for place in places where keys[place] == least {
                if best.offer(RankKey(key: least, rank: ranks[place], place: place)) { last = best.last?.key ?? last }
                break
            }
        }
        return best.entries.map(\.place)
    }

    /// Places of the best ranks, whatever their nodes.
    private func best(_ count: Int) -> [Int] {
        var best = LeastFew<RankKey>(count: count)
        var last = Double.infinity
        let (keys, ranks) = (keys.span, ranks.span)
        for place in keys.indices where keys[place] <= last && keys[place] < .infinity {
            if best.offer(RankKey(key: keys[place], rank: ranks[place], place: place)) { last = best.last?.key ?? last }
        }
        return best.entries.map(\.place)
    }
}

private struct RankKey: Comparable {
    let key: Double
    let rank: Int
    /// Where it stands among the ranks.
    let place: Int

    static func < (a: RankKey, b: RankKey) -> Bool { (a.key, a.rank) < (b.key, b.rank) }
}

/// A fixed number in 0 ..< 1 for a pair, as good as random.
func fixedFraction(_ a: Int, _ b: Int) -> Double { Double(fixedBits(a, b) >> 11) * 0x1p-53 }

/// Fixed bits for a pair, as good as random (the finalizer of SplitMix64).
private func fixedBits(_ a: Int, _ b: Int) -> UInt64 {
    var z = UInt64(truncatingIfNeeded: a) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: b)
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
