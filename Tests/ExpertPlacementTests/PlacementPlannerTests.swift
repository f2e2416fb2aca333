import ExpertPlacement
import Testing

@Suite struct PlacementPlannerTests {
    private let model = ExpertModel(
        hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 256, count: 8), count: 2))
    private let skewed = [[9000.0, 5000, 400, 300, 500, 200, 300, 300], [300.0, 400, 200, 9000, 5000, 500, 300, 300]]
    private let even = [[Double]](repeating: [Double](repeating: 2000, count: 8), count: 2)

    private func cluster(_ worldSize: Int, ownership: OwnershipPolicy = .colocated) -> Cluster {
        Cluster(
            nodes: [Int](repeating: 0, count: worldSize), memoryLimits: nil,
            exchange: ExchangeCosts(latencySeconds: 1e-5, bytesPerSecond: 2e10), ownership: ownership)
    }

    private func planner(
        _ cluster: Cluster, allocator: String = "load-balanced", interval: Int = 20
    ) throws -> (PlacementPlanner, PlacementPlan) {
        (
            PlacementPlanner(
                allocator: try Allocators.make(named: allocator), model: model, cluster: cluster,
                intervalSteps: interval),
            try .first("expert-parallel", model, cluster)
        )
    }

    /// Rows times neurons of each rank.
    private func work(_ plan: PlacementPlan, _ loads: [[Double]]) -> [Double] {
        var work = RankWork(worldSize: plan.worldSize)
        for (layer, loads) in zip(plan.layers, loads) { work.add(layer, loads: loads) }
        return work.work
    }

    /// What was measured while layers switched is neither before nor after.
    @Test func stepsBetweenTwoPlansAreComparedWithNone() throws {
        var (planner, _) = try planner(cluster(1), interval: 10)
        func record(revision: Int, seconds: Double) {
            planner.record(
                PerformanceSample(
                    firstStep: 1, stepCount: 10, planRevision: revision, stepSeconds: seconds,
                    phaseSeconds: ["experts": seconds], bytesSent: 0, tokens: 1, residentBytes: 1), rank: 0)
        }
        record(revision: 0, seconds: 50)
        record(revision: 2, seconds: 20)
        let early = planner.observations()
        #expect(early.isEmpty)
        record(revision: 0, seconds: 50)
        record(revision: 3, seconds: 10)
        let observed = planner.observations()
        #expect(observed.last?.observation.secondsBefore == 2)
    }

    @Test func anIntervalOfLoadsIsDue() throws {
        var (planner, plan) = try planner(cluster(2))
        var run = SimulatedRun(slowness: [1, 1])
        #expect(!planner.isDue)
        let samples = run.samples(plan, loads: even)
        planner.record(samples[1], rank: 1)
        #expect(!planner.isDue)
        planner.record(samples[0], rank: 0)
        #expect(planner.isDue, "the first loads")
        #expect(planner.loads == even)
        _ = try planner.propose(current: plan, settings: PlanningSettings(), step: 10)
        #expect(!planner.isDue)
        planner.record(run.samples(plan, loads: even)[0], rank: 0)
        #expect(planner.isDue, "the first interval")
        _ = try planner.propose(current: plan, settings: PlanningSettings(), step: 20)
        _ = try run.advance(&planner, plan: &plan, loads: even, stepCount: 19)
        #expect(!planner.isDue, "19 steps of 20")
        planner.record(run.samples(plan, loads: even, stepCount: 1)[0], rank: 0)
        #expect(planner.isDue)
        _ = try planner.propose(current: plan, settings: PlanningSettings(), step: 40)
        #expect(!planner.isDue)
    }

    @Test func aJumpIsDueAtOnceButNotTwice() throws {
        for allocator in ["load-balanced", "eplb", "expert-parallel"] {
            var (planner, plan) = try planner(cluster(4), allocator: allocator, interval: 100)
            var run = SimulatedRun(slowness: [1, 1, 1, 1])
            for _ in 0..<15 { _ = try run.advance(&planner, plan: &plan, loads: even) }
            #expect(!planner.isDue)
            for sample in run.samples(plan, loads: skewed).prefix(1) { planner.record(sample, rank: 0) }
            #expect(planner.isDue, "\(allocator)")
            let proposal = try planner.propose(current: plan, settings: PlanningSettings(), step: 60)
            if allocator == "load-balanced" { #expect(proposal?.why.hasPrefix("the load has jumped") == true) }
            // A load that jumps with every report shortens every other interval at most.
            var looks = 0
            for report in 0..<40 {
                let loads = report % 2 == 0 ? even : skewed
                planner.record(run.samples(plan, loads: loads)[0], rank: 0)
                if planner.isDue {
                    looks += 1
                    _ = try planner.propose(current: plan, settings: PlanningSettings(), step: 70 + report)
                }
            }
            #expect((4...8).contains(looks), "\(allocator): \(looks) looks in 400 steps")
        }
    }

    /// What is on offer gives way to what is clearly better, and goes when it saves nothing any more.
    @Test func aProposalStaysUntilABetterOneIsKnown() throws {
        var (planner, plan) = try planner(cluster(4))
        var run = SimulatedRun(slowness: [1, 1, 1, 1])
        for (rank, sample) in run.samples(plan, loads: skewed).enumerated() { planner.record(sample, rank: rank) }
        let proposed = try planner.propose(current: plan, settings: PlanningSettings(), step: 10)
        let proposal = try #require(proposed)
        let start = plan
        #expect(planner.keeps(proposal.plan, over: proposal, current: start))
        #expect(planner.keeps(proposal.plan, over: nil, current: start))
        #expect(!planner.keeps(start, over: proposal, current: start), "the plan in force saves nothing")
        var better = proposal
        better.prediction.secondsAfter *= 0.995
        #expect(planner.keeps(proposal.plan, over: better, current: start))
        better.prediction.secondsAfter *= 0.9
        #expect(!planner.keeps(proposal.plan, over: better, current: start))
        // Loads that have become even.
        for _ in 0..<4 {
            for (rank, sample) in run.samples(plan, loads: even).enumerated() { planner.record(sample, rank: rank) }
        }
        #expect(!planner.keeps(proposal.plan, over: nil, current: start))
        // Another model's.
        plan = try PlacementPlan.first("replicated", ExpertModel(hiddenSize: 64, layers: [[8]]), cluster(4))
        #expect(!planner.keeps(plan, over: nil, current: start))
    }

    @Test func aRankTwiceAsSlowGetsHalfTheWork() throws {
        for seed in UInt64(1)...8 {
            var (planner, plan) = try planner(cluster(4))
            var run = SimulatedRun(slowness: [1, 1, 2, 1], seed: seed)
            run.timeNoise = 0.03
            run.loadNoise = 0.02
            for _ in 0..<20 { _ = try run.advance(&planner, plan: &plan, loads: skewed) }
            let work = work(plan, skewed)
            let others = (work.reduce(0, +) - work[2]) / 3
            #expect((0.44...0.58).contains(work[2] / others), "seed \(seed): \(work)")
        }
    }

    /// Few rows make replicas dear, and experts are fewer than ranks: they stay spread over all of these, and a slow rank
    /// gets narrower shards. Noise hardly ever cuts anew: a new cut has to gain more than speeds are uncertain.
    @Test func aSlowRankGetsNarrowerShards() throws {
        let cluster = cluster(4)
        let model = ExpertModel(hiddenSize: 64, layers: [[256, 256], [256, 256]])
        let loads = [[60.0, 40], [30, 70]]
        for seed in UInt64(1)...8 {
            for (slowness, share) in [([1.0, 1, 2, 1], 0.44...0.58), ([1, 1, 1, 1], 1...1)] {
                var planner = PlacementPlanner(
                    allocator: try Allocators.make(named: "load-balanced"), model: model, cluster: cluster,
                    intervalSteps: 10)
                var plan = try PlacementPlan.first("tensor-parallel", model, cluster)
                var run = SimulatedRun(slowness: slowness, seed: seed)
                run.timeNoise = 0.03
                run.loadNoise = 0.02
                var count = 0
                for _ in 0..<40 where try run.advance(&planner, plan: &plan, loads: loads) != nil { count += 1 }
                let work = work(plan, loads)
                let others = (work.reduce(0, +) - work[2]) / 3
                #expect(share.contains(work[2] / others), "seed \(seed): \(work)")
                #expect(plan.layers.allSatisfy { $0.experts.allSatisfy { $0.mesh.tensorParallel == 4 } })
                #expect(count <= (slowness[2] > 1 ? 4 : 0), "seed \(seed)")
            }
        }
    }

    /// Keeping replicas equal takes two more exchanges: where ranks wait long for each other, that is more than shards send.
    @Test func latencyMakesReplicasDear() throws {
        for (latency, expected) in [(1e-5, true), (1e-3, false)] {
            var cluster = cluster(4)
            cluster.exchange?.latencySeconds = latency
            var planner = PlacementPlanner(
                allocator: try Allocators.make(named: "load-balanced"), model: model, cluster: cluster,
                intervalSteps: 10)
            var plan = try PlacementPlan.first("expert-parallel", model, cluster)
            var run = SimulatedRun(slowness: [1, 1, 1, 1])
            #expect(try run.advance(&planner, plan: &plan, loads: skewed) != nil)
            let isReplicated = plan.layers.contains { $0.experts.contains { $0.mesh.dataParallel > 1 } }
            #expect(isReplicated == expected, "latency \(latency): \(plan.layers)")
        }
    }

    /// Unevenly loaded experts are placed once, and then stay; even ones never move. Noise is in all of it.
    @Test func noiseMovesNothing() throws {
        for seed in UInt64(1)...12 {
            for worldSize in [2, 4] {
                for (loads, most) in [(even, 0), (skewed, 3)] {
                    var (planner, plan) = try planner(cluster(worldSize), interval: 10)
                    var run = SimulatedRun(slowness: [Double](repeating: 1, count: worldSize), seed: seed)
                    run.timeNoise = 0.03
                    run.loadNoise = 0.01
                    var proposals = [PlanProposal]()
                    for _ in 0..<60 {
                        if let proposal = try run.advance(&planner, plan: &plan, loads: loads) {
                            proposals.append(proposal)
                        }
                    }
                    let context: Comment = "seed \(seed), \(worldSize) ranks, \(proposals.map(\.prediction))"
                    #expect(proposals.count <= most, context)
                    if most > 0 {
                        let work = work(plan, loads)
                        let balance = work.reduce(0, +) / Double(worldSize) / (work.max() ?? 1)
                        #expect(balance > 0.95, context)
                    }
                }
            }
        }
    }

    /// The gain over a plan's life has to exceed the cost of the move by the margin.
    @Test func aMoveHasToPay() throws {
        for (scale, expected) in [(1e-5, false), (1, true)] {
            for allocator in ["load-balanced", "eplb"] {
                var (planner, plan) = try planner(cluster(4), allocator: allocator, interval: 10)
                var run = SimulatedRun(slowness: [1, 1, 1, 1])
                let loads = skewed.map { $0.map { $0 * scale } }
                let proposal = try run.advance(&planner, plan: &plan, loads: loads)
                #expect((proposal != nil) == expected, "\(allocator), loads times \(scale)")
            }
        }
        let costly = PlanPrediction(secondsBefore: 1, secondsAfter: 0.5, moveSeconds: 10)
        #expect(Hysteresis(life: 41, margin: 2).allows(costly))
        #expect(!Hysteresis(life: 39, margin: 2).allows(costly))
        let small = PlanPrediction(secondsBefore: 1, secondsAfter: 0.995)
        #expect(!Hysteresis().allows(small) && Hysteresis(minimumGain: 0).allows(small))
    }

    /// What an allocator expects of its own plan counts, the forecast's uncertainty included. Here two experts, each on a rank
    /// of its own, take turns at being the busier one, and the mean sees nothing to gain.
    @Test func cautionAlonePaysForAPlan() throws {
        let (cluster, model) = (cluster(2), ExpertModel(hiddenSize: 64, layers: [[256, 256]]))
        for (caution, expected) in [(0, false), (5, true)] {
            var planner = PlacementPlanner(
                allocator: try Allocators.make(named: "load-balanced:caution=\(caution)"), model: model,
                cluster: cluster, intervalSteps: 10)
            let plan = try PlacementPlan.first("expert-parallel", model, cluster)
            var run = SimulatedRun(slowness: [1, 1])
            for interval in 0..<16 {
                let loads = interval % 2 == 0 ? [[21_600.0, 18_400]] : [[18_400.0, 21_600]]
                for (rank, sample) in run.samples(plan, loads: loads).enumerated() {
                    planner.record(sample, rank: rank)
                }
            }
            let proposal = try planner.propose(current: plan, settings: PlanningSettings(), step: 160)
            #expect((proposal != nil) == expected, "caution \(caution)")
            if let prediction = proposal?.prediction {
                #expect(prediction.secondsAfter > 0.99 * prediction.secondsBefore, "\(prediction)")
            }
        }
    }

    @Test func frozenPlanningProposesNothing() throws {
        var (planner, plan) = try planner(cluster(4), interval: 10)
        let first = plan
        var run = SimulatedRun(slowness: [1, 1, 1, 1])
        for _ in 0..<5 {
            let settings = PlanningSettings(frozen: true)
            #expect(try run.advance(&planner, plan: &plan, loads: skewed, settings: settings) == nil)
        }
        #expect(plan == first)
        #expect(try run.advance(&planner, plan: &plan, loads: skewed) != nil)
    }

    @Test func pinnedExpertsStay() throws {
        for allocator in ["load-balanced", "eplb", "exact"] {
            for pinned in [
                [ExpertID(layer: 0, expert: 0)], [ExpertID(layer: 0, expert: 2), ExpertID(layer: 1, expert: 4)],
                [ExpertID(layer: 7, expert: 0), ExpertID(layer: 0, expert: 99), ExpertID(layer: 0, expert: -1)],
            ] {
                var (planner, plan) = try planner(cluster(4), allocator: allocator, interval: 10)
                let first = plan
                var run = SimulatedRun(slowness: [1, 1, 1, 1])
                var count = 0
                for _ in 0..<5 {
                    let settings = PlanningSettings(pinned: Set(pinned))
                    if let proposal = try run.advance(&planner, plan: &plan, loads: skewed, settings: settings) {
                        count += 1
                        #expect(proposal.prediction.secondsAfter < proposal.prediction.secondsBefore)
                    }
                }
                #expect(count > 0, "\(allocator), \(pinned)")
                for pin in pinned where pin.layer < 2 && (0..<8).contains(pin.expert) {
                    #expect(plan.layers[pin.layer].experts[pin.expert] == first.layers[pin.layer].experts[pin.expert])
                }
            }
            // All pinned: nothing is left to propose.
            var (planner, plan) = try planner(cluster(4), allocator: allocator, interval: 10)
            var run = SimulatedRun(slowness: [1, 1, 1, 1])
            let all = (0..<2).flatMap { layer in (0..<8).map { ExpertID(layer: layer, expert: $0) } }
            let settings = PlanningSettings(pinned: Set(all))
            #expect(try run.advance(&planner, plan: &plan, loads: skewed, settings: settings) == nil)
        }
    }

    @Test(arguments: OwnershipPolicy.allCases) func predictionsKnowTheBytes(ownership: OwnershipPolicy) throws {
        var (planner, plan) = try planner(cluster(4, ownership: ownership), interval: 10)
        let first = plan
        var run = SimulatedRun(slowness: [1, 1, 1, 1])
        #expect(planner.assess(plan, current: plan) == PlanPrediction(balanceBefore: 1, balanceAfter: 1))
        let proposal = try #require(try run.advance(&planner, plan: &plan, loads: skewed))
        let prediction = proposal.prediction
        let migration = try Migration(from: first, to: proposal.plan, ownership: ownership)
        #expect(prediction.bytes == migration.bytes(hiddenSize: 64) && prediction.bytes > 0)
        // Each neuron's weights are 3·64 values, and both its moments twice that.
        #expect(prediction.bytes == (prediction.replicaNeurons + 2 * prediction.homeNeurons) * 768)
        #expect((prediction.homeNeurons == 0) == (ownership == .decoupled))
        #expect(prediction.balanceBefore < 0.6 && prediction.balanceAfter > 0.95)
        #expect(prediction.moveSeconds > 0 && prediction.forecastError == nil)
        // Another model's plan has no prediction, and is refused.
        let other = try PlacementPlan.first("replicated", ExpertModel(hiddenSize: 64, layers: [[8]]), cluster(4))
        #expect(planner.assess(other, current: plan) == PlanPrediction())
        #expect(throws: PlacementError.self) { try planner.check(other, current: plan) }
    }

    @Test func whatHappenedIsObserved() throws {
        var (planner, plan) = try planner(cluster(4), interval: 20)
        var run = SimulatedRun(slowness: [1, 1, 1, 1])
        _ = try run.advance(&planner, plan: &plan, loads: skewed)
        #expect(plan.revision == 2)
        #expect(planner.observations().isEmpty)
        var next = run.samples(plan, loads: skewed)
        for (rank, sample) in next.enumerated() { planner.record(sample, rank: rank) }
        #expect(planner.observations().isEmpty, "half an interval")
        next = run.samples(plan, loads: skewed)
        for (rank, sample) in next.enumerated() where rank > 0 { planner.record(sample, rank: rank) }
        #expect(planner.observations().isEmpty, "rank 0 is missing")
        planner.record(next[0], rank: 0)
        let observed = planner.observations()
        let observation = try #require(observed.first).observation
        #expect(observed.map(\.revision) == [2])
        #expect(planner.observations().isEmpty, "once")
        // Experts, dispatch and combine take one and a half times what experts alone do.
        let start = try PlacementPlan.first("expert-parallel", model, cluster(4))
        let slowest = (work(start, skewed).max() ?? 0) * 1e-8 * 1.5
        #expect(abs(observation.secondsBefore / slowest - 1) < 1e-6)
        #expect(observation.secondsAfter < 0.6 * observation.secondsBefore)
        #expect(observation.balanceBefore < 0.6 && observation.balanceAfter > 0.95)
        #expect(planner.forecastErrors.count == 2)
    }

    /// A plan that is replaced before its interval is over is judged by what there is of it.
    @Test func aPlanThatIsSoonReplacedIsObserved() throws {
        var (planner, plan) = try planner(cluster(4), interval: 100)
        var run = SimulatedRun(slowness: [1, 1, 1, 1])
        let start = plan
        func record(_ samples: [PerformanceSample], _ ranks: Range<Int> = 0..<4) {
            for rank in ranks { planner.record(samples[rank], rank: rank) }
        }
        record(run.samples(plan, loads: skewed))
        let proposed = try planner.propose(current: plan, settings: PlanningSettings(), step: 10)
        plan = try #require(proposed).plan
        plan.revision = 2
        let two = run.samples(plan, loads: skewed)
        record(two, 0..<3)
        plan = start
        plan.revision = 3
        let three = run.samples(plan, loads: skewed)
        record(three, 0..<1)
        #expect(planner.observations().isEmpty, "rank 3 has not reported on revision 2")
        record(two, 3..<4)
        let observed = planner.observations()
        #expect(observed.map(\.revision) == [2])
        if let observation = observed.first?.observation {
            #expect(observation.secondsAfter < 0.6 * observation.secondsBefore)
        }
        record(three, 1..<4)
        #expect(planner.observations().isEmpty, "a tenth of an interval under revision 3, and once of revision 2")
        for _ in 0..<9 { record(run.samples(plan, loads: skewed)) }
        let last = planner.observations()
        #expect(last.map(\.revision) == [3] && last[0].observation.secondsBefore < last[0].observation.secondsAfter)
    }

    @Test func proposalsAreReproducible() throws {
        var twins = [PlanProposal?]()
        for _ in 0..<2 {
            var (planner, plan) = try planner(cluster(4), interval: 10)
            var run = SimulatedRun(slowness: [1, 2, 1, 1], seed: 9)
            run.timeNoise = 0.1
            twins.append(try run.advance(&planner, plan: &plan, loads: skewed))
        }
        #expect(twins[0] == twins[1] && twins[0] != nil)
    }
}
