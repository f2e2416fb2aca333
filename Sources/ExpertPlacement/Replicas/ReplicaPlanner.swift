/// Chooses replica counts, ranks and token fractions of one layer so that the slowest rank is as fast as can be.
///
/// Fractions do most of the work: for given replicas the best ones are a flow, which `ReplicaAssignment` finds by
/// filling each expert's ranks to one level, and ranks that share experts then take the same time. Replicas are
/// chosen so that this flow can reach everywhere; a local search mends what is left.
public struct ReplicaPlanner: Hashable, Sendable {
    /// z: how many deviations of the forecast are added to a rank's mean when ranks are compared.
    public var caution: Double
    /// κ: weight of the forecast's variance against the squared load when shares are chosen. Larger values spread an
    /// expert more evenly over its replicas and leave forecast loads less even.
    public var spreading: Double
    /// How many deviations of its forecast count like rows when further replicas are given out.
    public var breadth: Double
    /// How far above the lower bound the slowest rank may stay, relative.
    public var tolerance: Double
    /// How far above it the plan in force may stay with new fractions alone before replicas change.
    public var keeping: Double

    public init(
        caution: Double = 0, spreading: Double = 16, breadth: Double = 64, tolerance: Double = 0.002,
        keeping: Double = 0.005
    ) {
        self.caution = caution
        self.spreading = spreading
        self.breadth = breadth
        self.tolerance = tolerance
        self.keeping = keeping
    }

    /// What a change has to save, in seconds a step.
    public struct Prices: Hashable, Sendable {
        /// For each replica that is new on its rank.
        public var transfer: Double
        /// For each of the replicas that are new on the rank to which most go: transfers to different ranks may go on at
        /// the same time.
        public var arrival: Double

        public init(transfer: Double = 0, arrival: Double = 0) {
            self.transfer = transfer
            self.arrival = arrival
        }

        static let none = Prices()

        func of(_ assignment: ReplicaAssignment, from current: [[Int]]) -> Double {
            if self == .none { return 0 }
            let transfers = assignment.transfers(from: current)
            return transfer * Double(transfers.all) + arrival * Double(transfers.busiest)
        }
    }

    /// Of the plan in force with new fractions, that plan with some replicas changed, and a plan made anew, the one
    /// whose slowest rank's seconds plus the price of its transfers are least. Where many ranks share many experts, replicas of a plan
    /// far worse than one made anew are left as they are, should that one's transfers cost next to nothing.
    public func plan(_ problem: ReplicaProblem, prices: Prices = Prices()) -> ReplicaPlan {
        var anew: Double?
        return plan(problem, prices: prices, anew: &anew)
    }

    /// - Parameter anew: seconds and prices of a plan made anew earlier for much the same problem, over the lower bound; nil:
    ///   there was none. None is made where that would not do. Afterwards what this problem's came to, if one was made.
    func plan(_ problem: ReplicaProblem, prices: Prices, anew: inout Double?) -> ReplicaPlan {
        guard let current = problem.current else {
            return fresh(problem, current: nil, prices: .none).assignment.plan
        }
        var kept = blank(problem)
        kept.adopt(current, fractions: problem.currentFractions)
        let target = problem.lowerBound * (1 + max(tolerance, keeping))
        // What a change costs at least; where replicas had to go, others may stay at no price.
        let isWhole = kept.replicaCount == current.reduce(0) { $0 + $1.count }
        let least = isWhole ? prices.transfer + prices.arrival : 0
        // Nothing is to be gained, or less than one transfer's price.
        if kept.slowest - target <= least { return kept.plan }
        var made: (assignment: ReplicaAssignment, score: Double)?
        if kept.isLarge, kept.slowest > Self.far * max(1, anew ?? 1) * problem.lowerBound {
            let fresh = fresh(problem, current: current, prices: prices)
            anew = problem.lowerBound > 0 ? fresh.score / problem.lowerBound : nil
            let isCheap = fresh.score <= (1 + Self.slight) * fresh.assignment.slowest
            if isCheap, fresh.score * Self.far < kept.slowest { return fresh.assignment.plan }
            made = fresh
        }
        kept.improve(target: target, limit: Self.workLimit) { assignment, slowest in
            slowest + prices.of(assignment, from: current)
        }
        let keptScore = kept.slowest + prices.of(kept, from: current)
        // A plan made anew moves nearly everything: not worth a thought when the price alone exceeds what it could
        // gain.
        if isWhole && kept.slowest <= target || keptScore - target <= least { return kept.plan }
        if let anew, anew * (1 - Self.doubt) * problem.lowerBound >= keptScore * (1 - tolerance) { return kept.plan }
        let fresh = made ?? fresh(problem, current: current, prices: prices)
        anew = problem.lowerBound > 0 ? fresh.score / problem.lowerBound : nil
        return fresh.score < keptScore * (1 - tolerance) ? fresh.assignment.plan : kept.plan
    }

    /// How much better a plan made anew may come out than an earlier one.
    private static let doubt = 0.001

    /// A large plan in force that is so much worse than one made anew, the transfers of which cost next to nothing, is not improved first:
    /// the search relieves the slowest few of its ranks.
    private static let far = 1.1
    /// What is next to nothing, relative.
    private static let slight = 0.01

    /// Limits the search of a layer, in computed shares: some milliseconds.
    private static let workLimit = 200_000

    /// One way to place everything anew.
    private struct Attempt {
        var mixing: Double
        var breadth = 0.0
        var sparing: Int?
    }

    /// Up to so many replicas every way is tried.
    private static let fewReplicas = 64
    /// Up to so many ranks and experts branch and bound looks at so many placements.
    private static let fewRanks = 4
    private static let fewExperts = 12
    private static let exactLimit = 3000
    /// How often the search of other small layers is taken up again.
    private static let rounds = 48
    /// From so many ranks on one attempt has to do.
    private static let manyRanks = 256
    /// Time over the lower bound with which no other attempt is made.
    private static let satisfying = 1.005

    private func blank(_ problem: ReplicaProblem) -> ReplicaAssignment {
        ReplicaAssignment(
            loads: problem.loads, deviations: problem.deviations, secondsPerRow: problem.secondsPerRow,
            slots: problem.slots, replicaLimit: problem.replicaLimit, nodes: problem.nodes, caution: caution,
            spreading: spreading,
            breadth: breadth)
    }

    private func fresh(
        _ problem: ReplicaProblem, current: [[Int]]?, prices: Prices
    ) -> (assignment: ReplicaAssignment, score: Double) {
        func score(_ assignment: ReplicaAssignment, _ slowest: Double) -> Double {
            current.map { slowest + prices.of(assignment, from: $0) } ?? slowest
        }
        let target = problem.lowerBound * (1 + tolerance)
        var best: (assignment: ReplicaAssignment, score: Double)?
        // Pieces in strict order pack single experts best, mixed ones let fractions carry load everywhere; replicas for
        // uncertain experts may be missing where certain load needs them.
        var attempts = [Attempt(mixing: 0.2, breadth: breadth), Attempt(mixing: 0.2), Attempt(mixing: 0)]
        if problem.worldSize > Self.manyRanks { attempts = [attempts[1]] }
        if problem.replicaLimit <= Self.fewReplicas {
            // Where replicas are few, the heaviest experts may do better with one less.
            let heaviest = problem.loads.indices.sorted { (problem.loads[$0], $1) > (problem.loads[$1], $0) }
            for expert in heaviest.prefix(4) { attempts.append(Attempt(mixing: 0, sparing: expert)) }
        }
        for attempt in attempts {
            var assignment = blank(problem)
            assignment.breadth = attempt.breadth
            assignment.construct(mixing: attempt.mixing, sparing: attempt.sparing)
            assignment.improve(target: target, limit: Self.workLimit, score: score)
            let slowest = assignment.slowest
            let value = score(assignment, slowest)
            if value < best?.score ?? .infinity { best = (assignment, value) }
            if slowest <= problem.lowerBound * Self.satisfying { break }
        }
        if best?.assignment.slowest ?? 0 > problem.lowerBound * Self.satisfying, let ranks = balancedRanks(problem) {
            var assignment = blank(problem)
            assignment.adopt(ranks)
            assignment.improve(target: target, limit: Self.workLimit, score: score)
            let value = score(assignment, assignment.slowest)
            if value < best?.score ?? .infinity { best = (assignment, value) }
        }
        if let found = best?.assignment, found.slowest > problem.lowerBound * Self.satisfying,
            problem.worldSize <= Self.fewRanks, problem.loads.count <= Self.fewExperts, problem.nodes == nil
        {
            // So few can be searched through, nearly always to the end.
            var assignment = blank(problem)
            assignment.adopt(ExactReplicaPlanner(limit: Self.exactLimit).improve(found.plan, for: problem).ranks)
            let value = score(assignment, assignment.slowest)
            if value < best?.score ?? .infinity { best = (assignment, value) }
        } else if let found = best, found.score > problem.lowerBound * Self.satisfying, found.assignment.isSmall {
            // Otherwise the search goes on from near the best, where some replicas are elsewhere.
            for round in 0..<Self.rounds {
                var assignment = best?.assignment ?? found.assignment
                assignment.shake(round)
                assignment.improve(target: target, limit: Self.workLimit, score: score)
                let value = score(assignment, assignment.slowest)
                if value < best?.score ?? .infinity { best = (assignment, value) }
                if value <= problem.lowerBound * Self.satisfying { break }
            }
        }
        return best ?? (blank(problem), .infinity)
    }

    /// Where DeepSeek's policy puts replicas, which is where the search may start as well as anywhere; nil when ranks
    /// differ, or are on several nodes, which it does not know.
    private func balancedRanks(_ problem: ReplicaProblem) -> [[Int]]? {
        guard problem.nodes == nil, Set(problem.slots).count == 1, Set(problem.secondsPerRow).count == 1,
            problem.replicaLimit == problem.slots.reduce(0, +),
            let balancer = try? ReplicaBalancer(replicas: problem.replicaLimit, ranks: problem.worldSize),
            let decision = try? balancer.balance(problem.loads)
        else { return nil }
        var ranks = [[Int]](repeating: [], count: problem.loads.count)
        for (slot, expert) in decision.experts.enumerated() where ranks[expert].last != slot / problem.slots[0] {
            ranks[expert].append(slot / problem.slots[0])
        }
        return ranks
    }
}
