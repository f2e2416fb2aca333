/// The best replica plan there is, by branch and bound: the judge of the other planners on small cases.
public struct ExactReplicaPlanner: Hashable, Sendable {
    /// Sets of ranks are listed one by one, so there must not be too many.
    public static let rankLimit = 12
    /// Most placements that are looked at before the search gives up. On more than eight ranks there are so many sets of ranks
    /// to look at for the next expert that a placement counts as several.
    public var limit: Int

    public init(limit: Int = 2_000_000) {
        self.limit = limit
    }

    /// - Parameter isCancelled: asked at each placement, which may take milliseconds; once it is true the search ends.
    /// - Returns: the plan whose slowest rank takes the least time at the forecast loads; nil when the limit was
    ///   reached, or the search was cancelled.
    public func plan(
        _ problem: ReplicaProblem, isCancelled: @escaping () -> Bool = { false }
    ) -> ReplicaPlan? {
        guard problem.worldSize <= Self.rankLimit else { return nil }
        var search = ExactSearch(problem, limit: limit, isCancelled: isCancelled)
        // A good plan to begin with cuts off most of the tree.
        let heuristic = ReplicaPlanner(spreading: 0, breadth: 0, tolerance: 0).plan(problem)
        search.best = heuristic
        search.bestSeconds = heuristic.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
        search.branch(0)
        return search.hasGivenUp ? nil : search.best
    }

    /// The best plan found within the limit, `plan` among them.
    func improve(_ plan: ReplicaPlan, for problem: ReplicaProblem) -> ReplicaPlan {
        guard problem.worldSize <= Self.rankLimit else { return plan }
        var search = ExactSearch(problem, limit: limit)
        search.best = plan
        search.bestSeconds = plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
        search.branch(0)
        return search.best ?? plan
    }
}

/// Gives the experts their sets of ranks, largest load first.
private struct ExactSearch {
    let problem: ReplicaProblem
    let limit: Int
    let isCancelled: () -> Bool
    let order: [Int]
    /// Sets of ranks as bit masks, those with most ranks first.
    let sets: [UInt32]
    let bound: Double
    var best: ReplicaPlan?
    var bestSeconds = Double.infinity
    /// Whether the limit was reached, or the search cancelled.
    private(set) var hasGivenUp = false
    private var visited = 0
    /// What looking at one placement may take, in entries of `RankSetFlow`: with all sets of eight ranks it takes less. What
    /// takes more counts as several, so that `limit` bounds time as well.
    private static let placementEntries = 1 << 14
    /// Entries that it takes to see whether a set may be had, for each rank.
    private static let rankEntries = 4
    private var chosen: [UInt32]
    private var free: [Int]
    private var used = 0
    private var flow: RankSetFlow

    init(_ problem: ReplicaProblem, limit: Int, isCancelled: @escaping () -> Bool = { false }) {
        self.problem = problem
        self.limit = limit
        self.isCancelled = isCancelled
        order = problem.loads.indices.sorted { (problem.loads[$0], $1) > (problem.loads[$1], $0) }
        sets = (1..<UInt32(1) << UInt32(problem.worldSize)).sorted {
            ($1.nonzeroBitCount, $0) < ($0.nonzeroBitCount, $1)
        }
        bound = problem.lowerBound
        chosen = [UInt32](repeating: 0, count: problem.loads.count)
        free = problem.slots
        flow = RankSetFlow(secondsPerRow: problem.secondsPerRow)
    }

    mutating func branch(_ depth: Int) {
        if isOver { return }
        hasGivenUp = visited > limit || isCancelled()
        if hasGivenUp { return }
        visited += 1
        if depth == order.count {
            let seconds = flow.bound
            if seconds < bestSeconds * (1 - 1e-9) { record(seconds) }
            return
        }
        let expert = order[depth]
        let rows = problem.loads[expert]
        let room = problem.replicaLimit - used - (order.count - depth - 1)
        var entries = 0
        for set in sets where set.nonzeroBitCount <= room {
            entries += Self.rankEntries * problem.worldSize
            if entries >= Self.placementEntries {
                visited += entries / Self.placementEntries
                entries %= Self.placementEntries
            }
            // Ranks that are alike so far are taken from the lowest on.
            guard isFree(set), isCanonical(set, depth: depth) else { continue }
            entries += flow.entries(of: set)
            guard flow.bound(adding: rows, to: set) < bestSeconds * (1 - 1e-9) else { continue }
            let undo = flow
            flow.add(rows, to: set)
            take(set, expert: expert, by: -1)
            if free.reduce(0, +) >= order.count - depth - 1 { branch(depth + 1) }
            take(set, expert: expert, by: 1)
            flow = undo
            if isOver { return }
        }
    }

    /// Nothing better is to be found, or nobody waits for it.
    private var isOver: Bool { hasGivenUp || bestSeconds <= bound * (1 + 1e-9) }

    private mutating func take(_ set: UInt32, expert: Int, by change: Int) {
        for rank in free.indices where set & 1 << UInt32(rank) != 0 { free[rank] += change }
        used -= change * set.nonzeroBitCount
        chosen[expert] = set
    }

    private func isFree(_ set: UInt32) -> Bool {
        free.indices.allSatisfy { set & 1 << UInt32($0) == 0 || free[$0] > 0 }
    }

    /// Whether no rank is taken while the one before it, with equal speed, slots and experts so far, is not.
    private func isCanonical(_ set: UInt32, depth: Int) -> Bool {
        for rank in free.indices.dropFirst()
        where set & 1 << UInt32(rank) != 0 && set & 1 << UInt32(rank - 1) == 0 && alike(rank, rank - 1, depth: depth) {
            return false
        }
        return true
    }

    private func alike(_ one: Int, _ other: Int, depth: Int) -> Bool {
        guard problem.secondsPerRow[one] == problem.secondsPerRow[other], problem.slots[one] == problem.slots[other]
        else { return false }
        return order[..<depth].allSatisfy { chosen[$0] >> UInt32(one) & 1 == chosen[$0] >> UInt32(other) & 1 }
    }

    private mutating func record(_ seconds: Double) {
        let ranks = chosen.map { set in problem.slots.indices.filter { set & 1 << UInt32($0) != 0 } }
        best = ReplicaPlan(
            ranks: ranks,
            fractions: TokenFractions.best(ranks: ranks, loads: problem.loads, secondsPerRow: problem.secondsPerRow))
        bestSeconds = seconds
    }
}

/// The least time in which ranks can share the rows of the experts placed so far: by max-flow min-cut, the largest
/// over all sets of ranks of the rows that have nowhere else to go, over the set's speed.
private struct RankSetFlow {
    /// Speed of each set of ranks, in rows a second.
    let speeds: [Double]
    /// Rows of the experts whose ranks all lie in the set.
    var confined: [Double]
    private(set) var bound = 0.0

    init(secondsPerRow: [Double]) {
        let count = 1 << secondsPerRow.count
        speeds = (0..<count).map { set in
            secondsPerRow.indices.reduce(0) { set & 1 << $1 != 0 ? $0 + 1 / secondsPerRow[$1] : $0 }
        }
        confined = [Double](repeating: 0, count: count)
    }

    /// Sets of ranks that have these ranks among them.
    func entries(of ranks: UInt32) -> Int { speeds.count >> ranks.nonzeroBitCount }

    /// `bound` once an expert's rows go to these ranks.
    func bound(adding rows: Double, to ranks: UInt32) -> Double {
        var bound = bound
        var set = Int(ranks)
        while set < speeds.count {
            bound = max(bound, (confined[set] + rows) / speeds[set])
            // The next larger number with these bits.
            set = (set + 1) | Int(ranks)
        }
        return bound
    }

    mutating func add(_ rows: Double, to ranks: UInt32) {
        bound = bound(adding: rows, to: ranks)
        var set = Int(ranks)
        while set < speeds.count {
            confined[set] += rows
            set = (set + 1) | Int(ranks)
        }
    }
}
