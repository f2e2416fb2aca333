import ExpertPlacement
import Synchronization
import Testing

/// What the planner makes of the ranks' memory, whatever the policy.
@Suite struct PlannerMemoryTests {
    private static let model = ExpertModel(hiddenSize: 64, layers: [[Int](repeating: 256, count: 8)])
    private static let rowsOfExpert = 2_000
    /// Input and output of a row, and two activations of each neuron, are kept; one more of each is at work.
    private static let rowBytes = 4 * ((2 * 64 + 2 * 256) + (2 * 64 + 256))

    /// Answers as it is told.
    private struct PlayedAllocator: ExpertsAllocator {
        final class Questions: Sendable {
            let count = Mutex(0)
        }

        let answer: Result<PlacementPlan, PlacementError>
        var hysteresis: Hysteresis?
        let questions = Questions()

        func collectPerformance(_ sample: PerformanceSample, rank: Int) {}

        func allocateExperts(
            current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
        ) throws(PlacementError) -> PlacementPlan? {
            questions.count.withLock { $0 += 1 }
            return try answer.get()
        }
    }

    /// The first experts are on rank 0, the others on rank 1.
    private func plan(onRank0 count: Int) throws -> PlacementPlan {
        let experts = try (0..<8).map {
            try ExpertPlacement(
                width: 256, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [$0 < count ? 0 : 1]))
        }
        return try PlacementPlan(worldSize: 2, layers: [LayerPlacement(experts: experts)])
    }

    private func bytes(_ plan: PlacementPlan, rank: Int) -> Int {
        PlanMemory.bytes(plan, hiddenSize: 64, ownership: .colocated)[rank]
    }

    /// A planner that has seen as many rows of each expert, under `current`.
    private func planner(_ allocator: PlayedAllocator, _ current: PlacementPlan, limits: [Int]) -> PlacementPlanner {
        var planner = PlacementPlanner(
            allocator: allocator, model: Self.model, cluster: Cluster(nodes: [0, 0], memoryLimits: limits),
            intervalSteps: 10)
        var run = SimulatedRun(slowness: [1, 1])
        let loads = [[Double](repeating: Double(Self.rowsOfExpert), count: 8)]
        for (rank, sample) in run.samples(current, loads: loads).enumerated() { planner.record(sample, rank: rank) }
        return planner
    }

    /// However little that gains.
    @Test func whatDoesNotFitHasToGo() throws {
        let (current, better) = (try plan(onRank0: 5), try plan(onRank0: 4))
        for missing in 0...1 {
            // No gain is enough.
            let allocator = PlayedAllocator(answer: .success(better), hysteresis: Hysteresis(minimumGain: 1))
            var planner = planner(allocator, current, limits: [bytes(current, rank: 0) - missing, 1 << 40])
            let proposal = try planner.propose(current: current, settings: PlanningSettings(), step: 10)
            #expect((proposal != nil) == (missing > 0), "\(missing) bytes are missing")
        }
    }

    /// A quarter more than the forecast, since rows scatter around it.
    @Test func moreRowsThanForecastHaveToFit() throws {
        let (current, better) = (try plan(onRank0: 5), try plan(onRank0: 4))
        let needed = bytes(better, rank: 1) + 4 * Self.rowsOfExpert * 5 / 4 * Self.rowBytes
        for missing in 0...1 {
            let allocator = PlayedAllocator(answer: .success(better))
            var planner = planner(allocator, current, limits: [1 << 40, needed - missing])
            let proposal = try planner.propose(current: current, settings: PlanningSettings(), step: 10)
            #expect((proposal != nil) == (missing == 0), "\(missing) bytes are missing")
        }
    }

    /// Memory is kept free for buffers and moves as far as the policy can do with less; a program that failed is not asked again.
    @Test(
        arguments: [(.exceedsMemory("too little"), 5), (.programFailed("it ended"), 1)] as [(PlacementError, Int)])
    func howOftenThePolicyIsAsked(error: PlacementError, count: Int) throws {
        let current = try plan(onRank0: 4)
        let allocator = PlayedAllocator(answer: .failure(error))
        var planner = planner(allocator, current, limits: [1 << 32, 1 << 32])
        #expect(throws: error) { try planner.propose(current: current, settings: PlanningSettings(), step: 10) }
        #expect(allocator.questions.count.withLock { $0 } == count)
    }
}
