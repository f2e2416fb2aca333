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
    /// The inverse of each.
    private let rowsPerSecond: [Double]
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
    private(set) var replicas: PackedLists<Replica>
    /// Experts by rank.
    private(set) var residents: PackedLists<Int>
    /// Nodes on which each expert has replicas.
    private var nodeCounts: [Int]
    /// Rows by rank.
    private(set) var rankLoads: [Double]
    private(set) var replicaCount = 0

    init(
        loads: [Double], deviations: [Double], secondsPerRow: [Double], slots: [Int], replicaLimit: Int,
        nodes: [Int]? = nil, caution: Double = 0,
        spreading: Double = 0, breadth: Double = 0
    ) {
        self.loads = loads
        variances = deviations.map { $0 * $0 }
        penalties = variances.map { $0 * spreading }
        self.secondsPerRow = secondsPerRow
        rowsPerSecond = secondsPerRow.map { 1 / $0 }
        self.slots = slots
        self.replicaLimit = replicaLimit
        self.nodes = nodes
        nodeCount = (nodes?.max() ?? 0) + 1
        self.caution = caution
        self.breadth = breadth
        replicas = PackedLists(count: loads.count, capacity: 4, filler: Replica(rank: 0, share: 0))
        residents = PackedLists(count: slots.count, capacity: 4, filler: 0)
        nodeCounts = [Int](repeating: 0, count: loads.count)
        rankLoads = [Double](repeating: 0, count: slots.count)
    }

    /// Whether time is saved where little is lost: what changed by next to nothing is not looked at again.
    var isLarge: Bool { Self.isLarge(ranks: slots.count, experts: loads.count) }

    static func isLarge(ranks: Int, experts: Int) -> Bool { ranks * experts > 4096 }

    /// How exactly shares are balanced before replicas change.
    var startingTolerance: Double { isLarge ? 1e-3 : 1e-4 }

    /// Whether there is time to try much.
    var isSmall: Bool { slots.count * loads.count <= 96 }

    func holds(_ rank: Int, _ expert: Int) -> Bool {
        for index in residents.range(rank) where residents.elements[index] == expert { return true }
        return false
    }

    func hasRoom(_ rank: Int) -> Bool { residents.count(rank) < slots[rank] }

    /// Where the expert's replica on `rank` stands.
    private func index(of expert: Int, on rank: Int) -> Int? {
        for index in replicas.range(expert) where replicas.elements[index].rank == rank { return index }
        return nil
    }

    /// Rows of the expert on `rank`.
    func rows(of expert: Int, on rank: Int) -> Double {
        index(of: expert, on: rank).map { replicas.elements[$0].share * loads[expert] } ?? 0
    }

    /// Whether an expert's replicas would be on fewer nodes than they could be, more so than now, if the one on `source` were
    /// not there, or one were on `target`.
    func narrows(_ expert: Int, without source: Int? = nil, with target: Int? = nil) -> Bool {
        guard let nodes else { return false }
        var spread = nodeCounts[expert]
        func missing(_ replicas: Int) -> Int { min(replicas, nodeCount) - spread }
        let count = replicas.count(expert)
        let now = missing(count)
        if let source, !isOn(nodes[source], expert, besides: source) { spread -= 1 }
        if let target, !isOn(nodes[target], expert, besides: source ?? -1) { spread += 1 }
        return missing(count - (source == nil ? 0 : 1) + (target == nil ? 0 : 1)) > now
    }

    /// Whether the expert has a replica on a rank of `node` that is not `rank`.
    private func isOn(_ node: Int, _ expert: Int, besides rank: Int) -> Bool {
        guard let nodes else { return true }
        for index in replicas.range(expert) {
            let other = replicas.elements[index].rank
            if other != rank, nodes[other] == node { return true }
        }
        return false
    }

    /// Adds a replica with a share, which the others have to give.
    mutating func place(_ expert: Int, on rank: Int, share: Double) {
        if let nodes, !isOn(nodes[rank], expert, besides: -1) { nodeCounts[expert] += 1 }
        replicas.append(Replica(rank: rank, share: share), to: expert)
        residents.append(expert, to: rank)
        rankLoads[rank] += share * loads[expert]
        replicaCount += 1
    }

    /// Adds a replica that takes no rows yet, unless it is the expert's first, which takes them all.
    mutating func add(_ expert: Int, to rank: Int) {
        place(expert, on: rank, share: replicas.count(expert) == 0 ? 1 : 0)
    }

    /// Takes a replica away; the others of the expert, at least one, take over its rows.
    mutating func remove(_ expert: Int, from rank: Int) {
        guard let index = index(of: expert, on: rank) else { return }
        let share = replicas.elements[index].share
        rankLoads[rank] -= share * loads[expert]
        replicas.remove(at: index, from: expert)
        if let nodes, !isOn(nodes[rank], expert, besides: rank) { nodeCounts[expert] -= 1 }
        leave(expert, rank)
        replicaCount -= 1
        let range = replicas.range(expert)
        guard !range.isEmpty else { return }
        replicas.elements[range.lowerBound].share += share
        rankLoads[replicas.elements[range.lowerBound].rank] += share * loads[expert]
        fill(expert)
    }

    /// Moves a replica with its share.
    mutating func move(_ expert: Int, from rank: Int, to target: Int) {
        guard let index = index(of: expert, on: rank) else { return }
        let rows = replicas.elements[index].share * loads[expert]
        rankLoads[rank] -= rows
        rankLoads[target] += rows
        if let nodes {
            if !isOn(nodes[rank], expert, besides: rank) { nodeCounts[expert] -= 1 }
            if !isOn(nodes[target], expert, besides: rank) { nodeCounts[expert] += 1 }
        }
        replicas.elements[index].rank = target
        leave(expert, rank)
        residents.append(expert, to: target)
    }

    /// The expert has no replica on `rank` any more.
    private mutating func leave(_ expert: Int, _ rank: Int) {
        for index in residents.range(rank) where residents.elements[index] == expert {
            residents.remove(at: index, from: rank)
            return
        }
    }

    /// Gives the replicas of the expert shares.
    /// - Parameter fractions: those of its replicas on `ranks`; even ones where it has others, or if nil.
    mutating func spread(_ expert: Int, over ranks: [Int], _ fractions: [Double]?) {
        let range = replicas.range(expert)
        var shares = [Double](repeating: 1 / Double(max(1, range.count)), count: range.count)
        if let fractions, range.count == ranks.count {
            for (place, index) in range.enumerated() {
                let rank = replicas.elements[index].rank
                shares[place] = ranks.firstIndex(of: rank).map { fractions[$0] } ?? 0
            }
        }
        for (share, index) in zip(shares, range) {
            let replica = replicas.elements[index]
            rankLoads[replica.rank] += (share - replica.share) * loads[expert]
            replicas.elements[index].share = share
        }
    }

    /// Gives the expert's replicas the shares that minimise the potential while all other experts keep theirs: ranks
    /// are filled like vessels to one level, those above it get nothing.
    mutating func fill(_ expert: Int) {
        var due = [Bool]()
        fill(expert, &due, least: .infinity)
    }

    /// - Parameters:
    ///   - due: becomes true for the experts of ranks whose rows change by more than `least`.
    /// - Returns: the largest change of a rank's rows.
    @discardableResult
    private mutating func fill(_ expert: Int, _ due: inout [Bool], least: Double) -> Double {
        let range = replicas.range(expert)
        if range.count == 1 { return 0 }
        return Self.fill(
            &replicas.elements, range, load: loads[expert], penalty: penalties[expert], &rankLoads, secondsPerRow,
            rowsPerSecond, residents, &due, least: least)
    }

    /// A replica that is filled.
    private struct Vessel {
        let rank: Int
        /// Rows of the rank's other experts, and how long these take.
        let base: Double
        let height: Double
        let conductance: Double
    }

    private static func fill(
        _ replicas: inout [Replica], _ range: Range<Int>, load: Double, penalty: Double, _ rankLoads: inout [Double],
        _ secondsPerRow: [Double], _ rowsPerSecond: [Double], _ residents: PackedLists<Int>, _ due: inout [Bool],
        least: Double
    ) -> Double {
        // An expert without rows is spread by speed.
        let idle = load <= 0
        let gain = idle ? 1 : load / (load * load + penalty)
        var elements = replicas.mutableSpan
        var rankLoads = rankLoads.mutableSpan
        var due = due.mutableSpan
        let (secondsPerRow, rowsPerSecond) = (secondsPerRow.span, rowsPerSecond.span)
        return withUnsafeTemporaryAllocation(of: Vessel.self, capacity: range.count) { vessels in
            var (bases, conductance, highest) = (1 / gain, 0.0, -Double.infinity)
            for (place, index) in range.enumerated() {
                let replica = elements[index]
                rankLoads[replica.rank] -= replica.share * load
                let base = idle ? 0 : rankLoads[replica.rank]
                let vessel = Vessel(
                    rank: replica.rank, base: base, height: base * secondsPerRow[replica.rank],
                    conductance: rowsPerSecond[replica.rank])
                vessels.initializeElement(at: place, to: vessel)
                bases += base
                conductance += vessel.conductance
                highest = max(highest, vessel.height)
            }
            // A share is (level / c_r - base) · gain. Leaving out ranks above the level lowers it, so none of them has to come
            // back.
            var level = bases / conductance
            while highest >= level {
                (bases, conductance, highest) = (1 / gain, 0, -Double.infinity)
                for vessel in vessels where vessel.height < level {
                    bases += vessel.base
                    conductance += vessel.conductance
                    highest = max(highest, vessel.height)
                }
                let next = bases / conductance
                if !(next < level) { break }
                level = next
            }
            var sum = 0.0
            var change = 0.0
            for (place, index) in range.enumerated() {
                let vessel = vessels[place]
                let share = max(0, (level * vessel.conductance - vessel.base) * gain)
                let difference = abs(share - elements[index].share)
                elements[index].share = share
                sum += share
                change = max(change, difference)
                if difference * load > least {
                    for place in residents.range(vessel.rank) { due[residents.elements[place]] = true }
                }
            }
            // Rows so few beside others' that they do not change a sum go anywhere.
            if !(sum > 0 && sum.isFinite) {
                for index in range { elements[index].share = 1 }
                sum = Double(range.count)
            }
            let scale = 1 / sum
            for (place, index) in range.enumerated() {
                let share = elements[index].share * scale
                elements[index].share = share
                rankLoads[vessels[place].rank] += share * load
            }
            return change * load
        }
    }

    /// Fills all experts in turn until no rank's rows change by more than `tolerance` of the mean, or `limit` times:
    /// block coordinate descent, which for this potential ends at the optimum.
    mutating func balance(tolerance: Double = 1e-4, limit: Int = 40) {
        var due = [Bool](repeating: true, count: loads.count)
        balance(&due, tolerance: tolerance, limit: limit)
    }

    /// The same where `old` was balanced, and differs little: what is as it was need not be looked at.
    mutating func balance(since old: ReplicaAssignment, tolerance: Double, limit: Int) {
        guard isLarge else { return balance(tolerance: tolerance, limit: limit) }
        var due = [Bool](repeating: false, count: loads.count)
        let least = Self.negligible * tolerance * meanLoad
        for rank in slots.indices where abs(rankLoads[rank] - old.rankLoads[rank]) > least {
            for index in residents.range(rank) { due[residents.elements[index]] = true }
        }
        balance(&due, tolerance: tolerance, limit: limit)
    }

    private var meanLoad: Double { loads.reduce(0, +) / Double(slots.count) }
    /// Part of the tolerance by which a rank's rows may change without another look at its experts.
    private static let negligible = 0.125

    private mutating func balance(_ due: inout [Bool], tolerance: Double, limit: Int) {
        let threshold = tolerance * meanLoad
        let least = isLarge ? Self.negligible * threshold : .infinity
        for _ in 0..<limit {
            var change = 0.0
            for expert in due.indices where due[expert] || !isLarge {
                change = max(change, fill(expert, &due, least: least))
                // It is where it is best, whatever it has changed itself.
                due[expert] = false
            }
            if change <= threshold { return }
        }
    }

    /// Variance of each rank's rows.
    var rankVariances: [Double] {
        var result = [Double](repeating: 0, count: slots.count)
        for expert in loads.indices {
            for index in replicas.range(expert) {
                let replica = replicas.elements[index]
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
            for index in replicas.range(expert) {
                let replica = replicas.elements[index]
                result += secondsPerRow[replica.rank] * replica.share * replica.share * penalties[expert]
            }
        }
        return result / 2
    }

    /// Replicas that `current` does not have: all, and those that arrive at the rank with most of them.
    func transfers(from current: [[Int]]) -> (all: Int, busiest: Int) {
        var arrivals = [Int](repeating: 0, count: slots.count)
        var all = 0
        // The last expert that was there, by rank.
        var last = [Int](repeating: -1, count: slots.count)
        for expert in loads.indices {
            for rank in current[expert] where slots.indices.contains(rank) { last[rank] = expert }
            for index in replicas.range(expert) {
                let rank = replicas.elements[index].rank
                if last[rank] == expert { continue }
                all += 1
                arrivals[rank] += 1
            }
        }
        return (all, arrivals.max() ?? 0)
    }

    /// The plan, ranks ascending.
    var plan: ReplicaPlan {
        let sorted = loads.indices.map { replicas[$0].sorted { $0.rank < $1.rank } }
        return ReplicaPlan(ranks: sorted.map { $0.map(\.rank) }, fractions: sorted.map { $0.map(\.share) })
    }
}
