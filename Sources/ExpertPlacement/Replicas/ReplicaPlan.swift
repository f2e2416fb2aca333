/// Where the replicas of one layer's experts go, and which share of its expert's rows each takes.
public struct ReplicaPlan: Hashable, Sendable {
    /// Ranks of each expert, ascending, none twice.
    public var ranks: [[Int]]
    /// Share of the expert's rows on each of `ranks`, with the sum 1.
    public var fractions: [[Double]]

    public init(ranks: [[Int]], fractions: [[Double]]) {
        self.ranks = ranks
        self.fractions = fractions
    }

    /// Replicas of all experts together.
    public var replicaCount: Int { ranks.reduce(0) { $0 + $1.count } }

    /// Rows on each of `worldSize` ranks when the experts get `loads`.
    public func rankLoads(_ loads: [Double], worldSize: Int) -> [Double] {
        var result = [Double](repeating: 0, count: worldSize)
        for (expert, load) in loads.enumerated() {
            for (rank, fraction) in zip(ranks[expert], fractions[expert]) { result[rank] += fraction * load }
        }
        return result
    }

    /// Seconds of the slowest rank when the experts get `loads`.
    public func seconds(_ loads: [Double], secondsPerRow: [Double]) -> Double {
        zip(rankLoads(loads, worldSize: secondsPerRow.count), secondsPerRow).map { $0 * $1 }.max() ?? 0
    }

    /// Replicas that were not there before: each is one expert's weights on the way to a rank.
    public func transfers(from current: [[Int]]) -> Int {
        zip(ranks, current).reduce(0) { count, pair in
            let old = Set(pair.1)
            return count + pair.0.lazy.filter { !old.contains($0) }.count
        }
    }
}
