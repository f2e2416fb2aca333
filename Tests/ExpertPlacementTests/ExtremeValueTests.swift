import ExpertPlacement
import Testing

/// Whatever the control protocol lets through, planning ends with a plan or an error.
@Suite struct ExtremeValueTests {
    private static let largest = 1 << 53
    private static let models = [
        ExpertModel(hiddenSize: 1 << 16, layers: [[Int]](repeating: [Int](repeating: 1 << 20, count: 4), count: 12)),
        ExpertModel(hiddenSize: 1, layers: [[Int]](repeating: [1, 1, 1, 1], count: 12)),
        // As large as may be, in one layer and in layers of which one has no expert.
        ExpertModel(hiddenSize: 1 << 18, layers: [[Int](repeating: 1 << 24, count: 4)]),
        ExpertModel(hiddenSize: 1 << 24, layers: [[1 << 18, 1 << 18], [], [1 << 18, 1 << 18]]),
    ]
    private static let exchanges = [
        nil, (0, 1), (3600, 1), (0, 1e18), (0, 1e-300), (1e308, 1e308), (.infinity, .nan),
        (.leastNonzeroMagnitude, .leastNonzeroMagnitude),
    ].map { $0.map { ExchangeCosts(latencySeconds: $0.0, bytesPerSecond: $0.1) } }

    /// What a rank may have measured.
    private static func sample(_ loads: [[Int]]?, seconds: Double, revision: Int = 1, rows: Int = largest)
        -> PerformanceSample
    {
        PerformanceSample(
            firstStep: largest, stepCount: loads == nil ? largest : 1, planRevision: revision, stepSeconds: seconds,
            phaseSeconds: ["experts": seconds, "dispatch": seconds, "combine": seconds], bytesSent: largest,
            tokens: largest, residentBytes: largest, expertLoads: loads, expertRows: rows, expertWork: 1)
    }

    @Test(
        arguments: ["load-balanced", "load-balanced:shapes=replicas,slots=1000000", "eplb:slots=1000000", "exact"],
        models)
    func planningEnds(allocator: String, model: ExpertModel) throws {
        for (index, exchange) in Self.exchanges.enumerated() {
            for limit in [nil, 0, 1 << 46, Self.largest] {
                let cluster = Cluster(
                    nodes: [0, 0, 1, 1], memoryLimits: limit.map { [Int](repeating: $0, count: 4) }, exchange: exchange,
                    ownership: OwnershipPolicy.allCases[index % 2])
                let policy = try Allocators.make(named: allocator)
                var planner = PlacementPlanner(allocator: policy, model: model, cluster: cluster, intervalSteps: 1)
                var plan = try PlacementPlan.first("expert-parallel", model, cluster)
                for seconds in [0, Double.leastNonzeroMagnitude, 1e9] {
                    for hot in [0, Self.largest] {
                        let loads = model.layers.map { $0.indices.map { $0 == 0 ? hot : hot / 2 * ($0 % 2) } }
                        planner.record(Self.sample(loads, seconds: seconds, revision: plan.revision), rank: 0)
                        for rank in 1..<4 {
                            planner.record(Self.sample(nil, seconds: seconds, revision: plan.revision), rank: rank)
                        }
                        let proposal: PlanProposal?
                        do {
                            proposal = try planner.propose(current: plan, settings: PlanningSettings(), step: 1)
                        } catch {
                            continue
                        }
                        _ = planner.keeps(plan, over: proposal, current: plan)
                        _ = planner.observations()
                        guard let proposal else { continue }
                        Self.expectNumbers(proposal.prediction)
                        let revision = plan.revision + 1
                        plan = proposal.plan
                        plan.revision = revision
                    }
                }
                let spread = try PlacementPlan.first("tensor-parallel", model, cluster)
                Self.expectNumbers(planner.assess(spread, current: plan))
                _ = try? planner.check(spread, current: plan)
                _ = try? planner.check(PlacementPlan.first("replicated", model, cluster), current: plan)
            }
        }
    }

    /// Numbers that have a form in JSON.
    private static func expectNumbers(_ prediction: PlanPrediction) {
        let numbers = [
            prediction.secondsBefore, prediction.secondsAfter, prediction.balanceBefore, prediction.balanceAfter,
            prediction.moveSeconds,
        ]
        #expect(numbers.allSatisfy { $0.isFinite }, "\(prediction)")
    }

    /// Proposes to have every expert on every rank, whatever that brings.
    private struct Replicating: ExpertsAllocator {
        var hysteresis: Hysteresis? { nil }
        mutating func collectPerformance(_ sample: PerformanceSample, rank: Int) {}
        mutating func allocateExperts(
            current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
        ) throws(PlacementError) -> PlacementPlan? {
            try StaticAllocator(.replicated).allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
        }
    }

    /// Seconds so few that their ratios are no numbers, and more than `Report` lets through.
    @Test(arguments: [1e308, .leastNonzeroMagnitude, 1e-300]) func secondsThatTellNothing(seconds: Double) throws {
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 16, 16, 16]])
        let cluster = Cluster(worldSize: 2)
        let plan = try PlacementPlan.first("expert-parallel", model, cluster)
        for allocator in [Replicating(), LoadBalancedAllocator()] as [any ExpertsAllocator] {
            for others in [1, seconds] {
                var planner = PlacementPlanner(
                    allocator: allocator, model: model, cluster: cluster, intervalSteps: 1)
                for _ in 0..<5 {
                    planner.record(Self.sample([[9000, 1, 9000, 1]], seconds: seconds, rows: 1), rank: 0)
                    planner.record(Self.sample(nil, seconds: others, rows: 1), rank: 1)
                    let proposal = try planner.propose(current: plan, settings: PlanningSettings(), step: 1)
                    if let proposal { Self.expectNumbers(proposal.prediction) }
                }
            }
        }
    }

    /// Reports of very many steps, more of them than there are numbers.
    @Test func stepsAreCountedAsFarAsNumbersGo() throws {
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 16]])
        let cluster = Cluster(worldSize: 1)
        var planner = PlacementPlanner(
            allocator: try Allocators.make(named: "eplb"), model: model, cluster: cluster, intervalSteps: Self.largest)
        var sample = Self.sample([[1, 2]], seconds: 1)
        sample.stepCount = Self.largest
        for _ in 0..<1100 { planner.record(sample, rank: 0) }
        #expect(planner.isDue)
    }

    @Test(arguments: exchanges) func predictionsAreToldInWords(exchange: ExchangeCosts?) throws {
        for name in ["load-balanced", "eplb", "replicated", "dp=2,tp=2"] {
            var question = try OfflinePlan(
                loads: [[1e12, 1, 0, 1e12], [0, 0, 0, 0]], ranks: 4, allocator: name, width: 1 << 20,
                hiddenSize: 1 << 20)
            question.cluster.exchange = exchange
            let answer = try question.propose()
            #expect(answer.why.contains("%"))
            Self.expectNumbers(answer.prediction)
            // Rows without end fit no memory.
            question.cluster.memoryLimits = [Int](repeating: Self.largest, count: 4)
            #expect(throws: PlacementError.self) { try question.propose() }
        }
    }

    @Test func modelsHaveABound() throws {
        let fitting = ExpertModel(hiddenSize: 1 << 20, layers: [[1 << 23], [1 << 23]])
        #expect(fitting.size == ExpertModel.sizeLimit)
        #expect(throws: Never.self) { try fitting.checkSize() }
        for (hiddenSize, widths) in [
            (1 << 20, [1 << 23, 1 << 23, 1]), (1 << 24, [Int](repeating: 1 << 24, count: 4096)),
            (Int.max, [Int.max, Int.max]), (1, [Int.max, Int.max]),
        ] {
            let model = ExpertModel(hiddenSize: hiddenSize, layers: [widths])
            let error = #expect(throws: PlacementError.self) { try model.checkSize() }
            #expect(error.map { "\($0)" }?.contains("\(ExpertModel.sizeLimit)") == true)
        }
        #expect(throws: PlacementError.self) {
            try OfflinePlan(loads: [[1, 1]], ranks: 1, width: 1 << 24, hiddenSize: 1 << 24).propose()
        }
        let mesh = try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [0])
        #expect(throws: PlacementError.self) { try ExpertPlacement(width: 1 << 24 + 1, mesh: mesh) }
        #expect(throws: PlacementError.self) { try PlacementPlan(worldSize: 16_385, layers: []) }
    }

    /// Slots that no rank can use take no memory.
    @Test func slotsBeyondTheExpertsAreNone() throws {
        let model = ExpertModel(hiddenSize: 8, layers: [[8, 8, 8], [8]])
        let cluster = Cluster(worldSize: 16_384)
        for name in [
            "load-balanced:slots=1000000", "load-balanced:shapes=replicas,slots=1000000", "eplb:slots=1000000",
        ] {
            let plan = try PlacementPlan.first(name, model, cluster)
            try plan.validate(for: model, worldSize: 16_384)
        }
        #expect(throws: PlacementError.self) { try PlacementPlan.first("exact:slots=1000000", model, cluster) }
        #expect(throws: PlacementError.self) { try ReplicaBalancer(replicas: 1_000_000 * 16_384, ranks: 16_384) }
    }

    /// A plan lists no more ranks than the control protocol carries.
    @Test(arguments: ["load-balanced", "load-balanced:slots=1000000"]) func plansStayWithinTheirSize(name: String)
        throws
    {
        let model = ExpertModel(
            hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 4096, count: 512), count: 2))
        let cluster = Cluster(worldSize: 4096)
        var allocator = try Allocators.make(named: name)
        let first = try #require(try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0))
        var loads = model.layers
        loads[0][0] = Self.largest
        loads[1] = [Int](repeating: 1, count: 512)
        allocator.collectPerformance(Self.sample(loads, seconds: 1), rank: 0)
        let plan = try allocator.allocateExperts(current: first, model: model, cluster: cluster, step: 1) ?? first
        let ranks = plan.layers.reduce(0) { $0 + $1.experts.reduce(0) { $0 + $1.mesh.ranks.count } }
        #expect(ranks <= PlacementPlan.rankLimit)
    }
}
