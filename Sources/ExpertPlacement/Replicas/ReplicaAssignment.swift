/// Replicas and shares in the making.
///
/// The shares minimise the potential Σ_r c_r·(l_r² + κ·v_r) / 2, with c_r the seconds a row, l_r the rows of rank r
/// and v_r their variance. Without the variance its minimum is the most even assignment there is: gradients with
/// respect to moved rows are times, so at the minimum all ranks that share experts take the same time, which also
/// minimises the slowest rank's (a least-majorised flow). The variance, weighted by κ, spreads experts whose forecast
/// is uncertain.
struct ReplicaAssignment {
    struct Replica {
        var rank: Int
        var share: Double
    }

    let loads: [Double]
    /// Variance of each expert's load, times κ.
    let penalties: [Double]
    let variances: [Double]
    let secondsPerRow: [Double]
    let slots: [Int]
    let replicaLimit: Int
    /// Node of each rank; nil: all are on one.
    let nodes: [Int]?
    let nodeCount: Int
    /// z: deviations of the forecast added to a rank's mean when ranks are compared.
    let caution: Double
    /// Deviations of the forecast that count like rows when replicas are given out.
    var breadth: Double
    /// By expert.
    var replicas: [[Replica]]
    /// Experts by rank.
    var residents: [[Int]]
    /// Rows by rank.
    var rankLoads: [Double]
    var replicaCount = 0

    init(
        loads: [Double], deviations: [Double], secondsPerRow: [Double], slots: [Int], replicaLimit: Int,
        nodes: [Int]? = nil, caution: Double = 0,
        spreading: Double = 0, breadth: Double = 0
    ) {
        self.loads = loads
        variances = deviations.map { $0 * $0 }
        penalties = variances.map { $0 * spreading }
        self.secondsPerRow = secondsPerRow
        self.slots = slots
        self.replicaLimit = replicaLimit
        self.nodes = nodes
        nodeCount = (nodes?.max() ?? 0) + 1
        self.caution = caution
        self.breadth = breadth
        replicas = [[Replica]](repeating: [], count: loads.count)
        residents = [[Int]](repeating: [], count: slots.count)
        rankLoads = [Double](repeating: 0, count: slots.count)
    }

    /// Whether there is time to try much.
    var isSmall: Bool { slots.count * loads.count <= 96 }

    func holds(_ rank: Int, _ expert: Int) -> Bool {
        residents[rank].contains(expert)
    }

    /// Whether an expert's replicas would be on fewer nodes than they could be, more so than now, if the one on `source` were
    /// not there, or one were on `target`.
    func narrows(_ expert: Int, without source: Int? = nil, with target: Int? = nil) -> Bool {
        guard let nodes else { return false }
        var counts = [Int](repeating: 0, count: nodeCount)
        for replica in replicas[expert] { counts[nodes[replica.rank]] += 1 }
        func missing(_ replicas: Int) -> Int { min(replicas, nodeCount) - counts.count { $0 > 0 } }
        let now = missing(replicas[expert].count)
        if let source { counts[nodes[source]] -= 1 }
        if let target { counts[nodes[target]] += 1 }
        return missing(replicas[expert].count - (source == nil ? 0 : 1) + (target == nil ? 0 : 1)) > now
    }

    /// Adds a replica that takes no rows yet, unless it is the expert's first, which takes them all.
    mutating func add(_ expert: Int, to rank: Int) {
        let share = replicas[expert].isEmpty ? 1.0 : 0
        replicas[expert].append(Replica(rank: rank, share: share))
        residents[rank].append(expert)
        rankLoads[rank] += share * loads[expert]
        replicaCount += 1
    }

    /// Takes a replica away; the others of the expert, at least one, take over its rows.
    mutating func remove(_ expert: Int, from rank: Int) {
        guard let index = replicas[expert].firstIndex(where: { $0.rank == rank }) else { return }
        let share = replicas[expert][index].share
        rankLoads[rank] -= share * loads[expert]
        replicas[expert].remove(at: index)
        residents[rank].removeAll { $0 == expert }
        replicaCount -= 1
        guard let first = replicas[expert].first else { return }
        replicas[expert][0].share += share
        rankLoads[first.rank] += share * loads[expert]
        fill(expert)
    }

    /// Moves a replica with its share.
    mutating func move(_ expert: Int, from rank: Int, to target: Int) {
        guard let index = replicas[expert].firstIndex(where: { $0.rank == rank }) else { return }
        let rows = replicas[expert][index].share * loads[expert]
        rankLoads[rank] -= rows
        rankLoads[target] += rows
        replicas[expert][index].rank = target
        residents[rank].removeAll { $0 == expert }
        residents[target].append(expert)
    }

    /// Gives the expert's replicas the shares that minimise the potential while all other experts keep theirs: ranks
    /// are filled like vessels to one level, those above it get nothing.
    /// - Returns: the largest change of a rank's rows.
    @discardableResult
    mutating func fill(_ expert: Int) -> Double {
        let count = replicas[expert].count
        if count == 1 { return 0 }
        let load = loads[expert]
        for replica in replicas[expert] { rankLoads[replica.rank] -= replica.share * load }
        // From here on rank loads are what the other experts leave, and a share is (level / c_r - load_r) · gain. An
        // expert without rows is spread by speed.
        let idle = load <= 0
        let gain = idle ? 1 : load / (load * load + penalties[expert])
        var level = Double.infinity
        while true {
            var bases = 1 / gain
            var conductance = 0.0
            for replica in replicas[expert] {
                let base = idle ? 0 : rankLoads[replica.rank]
                let seconds = secondsPerRow[replica.rank]
                if base * seconds < level {
                    bases += base
                    conductance += 1 / seconds
                }
            }
            // Leaving out ranks above the level lowers it, so none of them has to come back.
            let next = bases / conductance
            if !(next < level) { break }
            level = next
        }
        var sum = 0.0
        var change = 0.0
        for index in 0..<count {
            let replica = replicas[expert][index]
            let base = idle ? 0 : rankLoads[replica.rank]
            let share = max(0, (level / secondsPerRow[replica.rank] - base) * gain)
            replicas[expert][index].share = share
            sum += share
            change = max(change, abs(share - replica.share))
        }
        // Rows so few beside others' that they do not change a sum go anywhere.
        if !(sum > 0 && sum.isFinite) {
            for index in 0..<count { replicas[expert][index].share = 1 }
            sum = Double(count)
        }
        for index in 0..<count {
            replicas[expert][index].share /= sum
            let replica = replicas[expert][index]
            rankLoads[replica.rank] += replica.share * load
        }
        return change * load
    }

    /// Fills all experts in turn until no rank's rows change by more than `tolerance` of the mean, or `limit` times:
    /// block coordinate descent, which for this potential ends at the optimum.
    mutating func balance(tolerance: Double = 1e-4, limit: Int = 40) {
        let threshold = tolerance * loads.reduce(0, +) / Double(slots.count)
        for _ in 0..<limit {
            var change = 0.0
            for expert in loads.indices where replicas[expert].count > 1 { change = max(change, fill(expert)) }
            if change <= threshold { return }
        }
    }

    /// Variance of each rank's rows.
    var rankVariances: [Double] {
        var result = [Double](repeating: 0, count: slots.count)
        for expert in loads.indices {
            for replica in replicas[expert] {
                result[replica.rank] += replica.share * replica.share * variances[expert]
            }
        }
        return result
    }

    /// Seconds of each rank, with `caution` deviations added.
    var rankSeconds: [Double] {
        if caution == 0 { return zip(rankLoads, secondsPerRow).map { $0 * $1 } }
        let variances = rankVariances
        return slots.indices.map { secondsPerRow[$0] * (rankLoads[$0] + caution * variances[$0].squareRoot()) }
    }

    var slowest: Double { rankSeconds.max() ?? 0 }

    var potential: Double {
        var result = 0.0
        for rank in slots.indices { result += secondsPerRow[rank] * rankLoads[rank] * rankLoads[rank] }
        for expert in loads.indices where penalties[expert] > 0 {
            for replica in replicas[expert] {
                result += secondsPerRow[replica.rank] * replica.share * replica.share * penalties[expert]
            }
        }
        return result / 2
    }

    /// Replicas that `current` does not have: all, and those that arrive at the rank with most of them.
    func transfers(from current: [[Int]]) -> (all: Int, busiest: Int) {
        var arrivals = [Int](repeating: 0, count: slots.count)
        var all = 0
        for expert in loads.indices {
            for replica in replicas[expert] where !current[expert].contains(replica.rank) {
                all += 1
                arrivals[replica.rank] += 1
            }
        }
        return (all, arrivals.max() ?? 0)
    }

    /// The plan, ranks ascending.
    var plan: ReplicaPlan {
        let sorted = replicas.map { $0.sorted { $0.rank < $1.rank } }
        return ReplicaPlan(ranks: sorted.map { $0.map(\.rank) }, fractions: sorted.map { $0.map(\.share) })
    }
}
