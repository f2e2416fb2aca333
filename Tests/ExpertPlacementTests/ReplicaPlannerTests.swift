import ExpertPlacement
import Testing

@Suite struct ReplicaPlannerTests {
    private func check(_ plan: ReplicaPlan, _ problem: ReplicaProblem, _ message: String) {
        #expect(plan.ranks.count == problem.loads.count && plan.fractions.count == problem.loads.count, "\(message)")
        #expect(plan.replicaCount <= problem.replicaLimit, "\(message)")
        var held = [Int](repeating: 0, count: problem.worldSize)
        for (ranks, fractions) in zip(plan.ranks, plan.fractions) {
            #expect(!ranks.isEmpty && ranks.count == fractions.count, "\(message)")
            // Ascending, so none twice.
            #expect(zip(ranks, ranks.dropFirst()).allSatisfy { $0 < $1 }, "\(message)")
            #expect(
                fractions.allSatisfy { $0 >= 0 && $0.isFinite } && abs(fractions.reduce(0, +) - 1) < 1e-9, "\(message)")
            for rank in ranks { held[rank] += 1 }
        }
        #expect(zip(held, problem.slots).allSatisfy { $0 <= $1 }, "\(message)")
        #expect(
            plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow) >= problem.lowerBound * (1 - 1e-9),
            "\(message)")
    }

    @Test(arguments: SeededLoads.Kind.allCases)
    func plansAreValidAndDeterministic(kind: SeededLoads.Kind) throws {
        for seed in UInt64(0)..<60 {
            var seeded = SeededLoads(seed: seed)
            let ranks = seeded.integer(1...12)
            let problem = try seeded.problem(kind, experts: seeded.integer(1...24), ranks: ranks)
            for planner in [ReplicaPlanner(), ReplicaPlanner(caution: 1, spreading: 64)] {
                let plan = planner.plan(problem, prices: .init(transfer: seed % 3 == 0 ? 0.01 : 0))
                check(plan, problem, "\(kind), seed \(seed)")
                #expect(
                    plan == planner.plan(problem, prices: .init(transfer: seed % 3 == 0 ? 0.01 : 0)),
                    "\(kind), seed \(seed)")
            }
        }
    }

    @Test(arguments: SeededLoads.Kind.allCases)
    func neverWorseThanTheReplicaBalancer(kind: SeededLoads.Kind) throws {
        for seed in UInt64(0)..<60 {
            var seeded = SeededLoads(seed: 1000 + seed)
            let ranks = [2, 3, 4, 8, 16, 24, 48][seeded.integer(0...6)]
            let experts = ranks * seeded.integer(1...4)
            let slots = experts / ranks + seeded.integer(0...3)
            let loads = seeded.loads(kind, experts: experts)
            let problem = try ReplicaProblem(
                loads: loads, secondsPerRow: [Double](repeating: 1, count: ranks),
                slots: [Int](repeating: slots, count: ranks))
            let decision = try ReplicaBalancer(replicas: slots * ranks, ranks: ranks).balance(loads)
            var theirs = [Double](repeating: 0, count: ranks)
            for (slot, expert) in decision.experts.enumerated() {
                theirs[slot / slots] += loads[expert] / Double(decision.counts[expert])
            }
            let ours = ReplicaPlanner().plan(problem).seconds(loads, secondsPerRow: problem.secondsPerRow)
            let most = theirs.max() ?? 0
            #expect(
                ours <= most * (1 + 1e-6),
                "\(kind), seed \(seed), \(experts) experts, \(slots) slots on \(ranks) ranks: \(ours) against \(most)"
            )
        }
    }

    @Test func withinOnePercentOfExact() throws {
        var finished = 0
        for seed in UInt64(0)..<120 {
            var seeded = SeededLoads(seed: 2000 + seed)
            let kind = SeededLoads.Kind.allCases[Int(seed) % SeededLoads.Kind.allCases.count]
            let ranks = seeded.integer(2...4)
            var problem = try seeded.problem(kind, experts: seeded.integer(2...6), ranks: ranks, alike: seed % 2 == 0)
            problem.current = nil
            guard let exact = ExactReplicaPlanner(limit: 20_000).plan(problem) else { continue }
            check(exact, problem, "seed \(seed)")
            finished += 1
            let best = exact.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
            let ours = ReplicaPlanner(spreading: 0, tolerance: 0).plan(problem)
                .seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
            #expect(ours <= best * 1.01, "\(kind), seed \(seed): \(ours) against \(best), \(problem)")
        }
        #expect(finished >= 60)
    }

    /// More ranks than the planner itself searches through, with its default settings; also from a plan in force, with a
    /// price on each transfer. Speeds and slots are alike in half of the cases.
    @Test(arguments: [false, true]) func withinOnePercentOfExactOnMoreRanks(inForce: Bool) throws {
        var finished = 0
        for seed in UInt64(0)..<280 {
            var seeded = SeededLoads(seed: 9000 + seed)
            let kind = SeededLoads.Kind.allCases[Int(seed) % SeededLoads.Kind.allCases.count]
            let ranks = seeded.integer(5...8)
            let drawn = try seeded.problem(kind, experts: seeded.integer(2...10), ranks: ranks, alike: seed % 2 == 0)
            guard !inForce || drawn.current != nil else { continue }
            // The best at the loads themselves: no deviations, which would have a price too.
            var problem = try ReplicaProblem(
                loads: drawn.loads, secondsPerRow: drawn.secondsPerRow, slots: drawn.slots,
                replicaLimit: drawn.replicaLimit)
            guard let exact = ExactReplicaPlanner(limit: 20_000).plan(problem) else { continue }
            check(exact, problem, "seed \(seed)")
            finished += 1
            problem.current = inForce ? drawn.current : nil
            let best = exact.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
            for price in inForce ? [0, 0.002 * best, 0.02 * best] : [0] {
                let plan = ReplicaPlanner().plan(problem, prices: .init(transfer: price))
                check(plan, problem, "seed \(seed)")
                let scores = [plan, exact].map { plan in
                    plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
                        + price * Double(problem.current.map { plan.transfers(from: $0) } ?? 0)
                }
                #expect(
                    scores[0] <= scores[1] * 1.01,
                    "\(kind), seed \(seed), price \(price): \(scores[0]) against \(scores[1]), \(problem)")
            }
        }
        print("planner against exact on 5 to 8 ranks: \(finished) cases, a plan in force: \(inForce)")
        #expect(finished >= 100)
    }

    /// Every placement of up to three experts on up to three ranks, against the exact planner.
    @Test func exactFindsTheBestOfAll() throws {
        for seed in UInt64(0)..<20 {
            var seeded = SeededLoads(seed: 3000 + seed)
            let (experts, ranks) = (seeded.integer(1...3), seeded.integer(1...3))
            var problem = try seeded.problem(.dirichlet, experts: experts, ranks: ranks)
            problem.current = nil
            var best = Double.infinity
            let sets = (1..<1 << ranks).map { set in (0..<ranks).filter { set >> $0 & 1 == 1 } }
            for index in 0..<Int(pow(sets.count, experts)) {
                let placed = (0..<experts).map { sets[index / pow(sets.count, $0) % sets.count] }
                let held = placed.joined().reduce(into: [Int](repeating: 0, count: ranks)) { $0[$1] += 1 }
                guard zip(held, problem.slots).allSatisfy({ $0 <= $1 }), held.reduce(0, +) <= problem.replicaLimit
                else {
                    continue
                }
                let fractions = TokenFractions.best(
                    ranks: placed, loads: problem.loads, secondsPerRow: problem.secondsPerRow)
                best = min(
                    best,
                    ReplicaPlan(ranks: placed, fractions: fractions)
                        .seconds(problem.loads, secondsPerRow: problem.secondsPerRow))
            }
            let exact = try #require(ExactReplicaPlanner().plan(problem))
            let seconds = exact.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
            #expect(abs(seconds - best) <= 1e-6 * best, "seed \(seed): \(seconds) against \(best)")
        }
    }

    /// A limit bounds time, not only placements: on many ranks there are so many sets to look at for each that it counts as several.
    @Test func manyRanksCountForMore() throws {
        for (ranks, isMore) in [(4, false), (8, false), (12, true)] {
            // So few replicas that no rank can be as busy as all of them together might be: the search has to come to its end.
            let problem = try ReplicaProblem(
                loads: [100, 90, 80], secondsPerRow: (0..<ranks).map { 1 + 0.01 * Double($0) },
                slots: [Int](repeating: 3, count: ranks), replicaLimit: 4)
            var placements = 0
            let best = ExactReplicaPlanner(limit: 1_000_000).plan(problem) {
                placements += 1
                return false
            }
            #expect(best != nil && placements > 1, "\(ranks) ranks")
            let again = ExactReplicaPlanner(limit: placements).plan(problem)
            #expect((again == nil) == isMore, "\(ranks) ranks, \(placements) placements")
        }
    }

    private func pow(_ base: Int, _ exponent: Int) -> Int { (0..<exponent).reduce(1) { power, _ in power * base } }

    /// Fractions reach the least time that max-flow min-cut allows: the largest, over all sets of ranks, of the rows
    /// confined to the set over its speed.
    @Test func fractionsAreAMaximumFlow() throws {
        for seed in UInt64(0)..<60 {
            var seeded = SeededLoads(seed: 4000 + seed)
            let ranks = seeded.integer(1...6)
            let experts = seeded.integer(1...10)
            let loads = seeded.loads(.dirichlet, experts: experts)
            let seconds = (0..<ranks).map { _ in 1 + seeded.uniform() }
            let placed = (0..<experts).map { _ in
                let set = seeded.integer(1...(1 << ranks) - 1)
                return (0..<ranks).filter { set >> $0 & 1 == 1 }
            }
            let fractions = TokenFractions.best(ranks: placed, loads: loads, secondsPerRow: seconds)
            var least = 0.0
            for set in 1..<1 << ranks {
                var confined = 0.0
                for (expert, placed) in placed.enumerated() where placed.allSatisfy({ set >> $0 & 1 == 1 }) {
                    confined += loads[expert]
                }
                var speed = 0.0
                for rank in 0..<ranks where set >> rank & 1 == 1 { speed += 1 / seconds[rank] }
                least = max(least, confined / speed)
            }
            let reached = ReplicaPlan(ranks: placed, fractions: fractions).seconds(loads, secondsPerRow: seconds)
            #expect(reached <= least * (1 + 1e-4) + 1e-9, "seed \(seed): \(reached) against \(least)")
        }
    }

    @Test func whatIsBalancedStays() throws {
        for ranks in 1...8 {
            let experts = 2 * ranks
            let current = (0..<experts).map { [$0 % ranks] }
            let problem = try ReplicaProblem(
                loads: [Double](repeating: 7, count: experts), secondsPerRow: [Double](repeating: 1, count: ranks),
                slots: [Int](repeating: 4, count: ranks), current: current)
            #expect(ReplicaPlanner().plan(problem).ranks == current)
        }
    }

    @Test func aPriceKeepsReplicasWhereTheyAre() throws {
        for seed in UInt64(0)..<40 {
            var seeded = SeededLoads(seed: 5000 + seed)
            let ranks = seeded.integer(2...8)
            var problem = try seeded.problem(.dirichlet, experts: 3 * ranks, ranks: ranks, alike: true)
            let current = (0..<3 * ranks).map { [$0 % ranks] }
            problem.current = current
            let free = ReplicaPlanner().plan(problem)
            let keeping = ReplicaPlanner().plan(problem, prices: .init(transfer: 1e12))
            #expect(keeping.ranks == current, "seed \(seed)")
            let price = problem.lowerBound / 20
            let priced = ReplicaPlanner().plan(problem, prices: .init(transfer: price))
            func score(_ plan: ReplicaPlan) -> Double {
                plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow)
                    + price * Double(plan.transfers(from: current))
            }
            // Never worse than staying, nor much than what is best when moves cost nothing.
            #expect(score(priced) <= score(keeping) * 1.0001, "seed \(seed)")
            #expect(score(priced) <= score(free) * 1.05, "seed \(seed)")
        }
    }

    @Test func degenerateLoadsAreNoTrap() throws {
        let huge = 1e50
        for loads in [[0, 0, 0, 0], [0, 0, 0, 1], [huge, 0, 1, huge], [1e-300, 1e-300, 0, 1], [1e18, 1, 1, 1]] {
            for (ranks, slots) in [(1, 4), (1, 9), (2, 2), (4, 1), (4, 4), (9, 1), (9, 9)] {
                for current in [nil, [[0], [0], [0], [0]], loads.indices.map { [$0 % ranks] }] {
                    let problem = try ReplicaProblem(
                        loads: loads, secondsPerRow: (0..<ranks).map { 1 + Double($0) },
                        slots: [Int](repeating: slots, count: ranks), current: current)
                    for planner in [ReplicaPlanner(), ReplicaPlanner(caution: 1, tolerance: 0, keeping: 0)] {
                        let plan = planner.plan(problem)
                        check(plan, problem, "\(loads), \(slots) slots on \(ranks) ranks")
                    }
                }
            }
        }
    }

    @Test func refusesWhatDoesNotFit() {
        let refusals: [(loads: [Double], seconds: [Double], slots: [Int], reason: String)] = [
            ([1, 1, 1], [1], [2], "do not fit"), ([1], [], [], "one at least"), ([1], [1, 1], [1], "one at least"),
            ([-1], [1], [1], "not negative"), ([.nan], [1], [1], "finite"), ([1e60], [1], [1], "none above"),
            ([1], [0], [1], "positive"),
            ([1], [1], [-1], "must not be negative"),
        ]
        for (loads, seconds, slots, reason) in refusals {
            let error = #expect(throws: PlacementError.self) {
                _ = try ReplicaProblem(loads: loads, secondsPerRow: seconds, slots: slots)
            }
            #expect(error.map { "\($0)" }?.contains(reason) == true, "\(String(describing: error))")
        }
    }
}
