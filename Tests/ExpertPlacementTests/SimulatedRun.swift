import ExpertPlacement
import Randomness

/// Ranks that take a known time for their rows, and what they report of it.
struct SimulatedRun {
    var rowSeconds = 0.0
    var neuronSeconds = 1e-8
    /// Of each rank, W entries.
    var slowness: [Double]
    /// Standard deviation of a report's seconds, and of an expert's share of the load, relative to them.
    var timeNoise = 0.0
    var loadNoise = 0.0
    let generator: CounterBasedGenerator
    private var index: UInt64 = 0
    private var step = 1

    init(slowness: [Double], seed: UInt64 = 1) {
        self.slowness = slowness
        generator = CounterBasedGenerator(seed: seed, purpose: "simulated run")
    }

    private mutating func noise(_ deviation: Double) -> Double {
        index += 1
        return max(0.05, 1 + deviation * generator.normal(at: index))
    }

    /// The samples of all ranks over `stepCount` steps under `plan`.
    /// - Parameter counting: whether the reports count rows.
    mutating func samples(
        _ plan: PlacementPlan, loads: [[Double]], stepCount: Int = 10, counting: Bool = true
    ) -> [PerformanceSample] {
        let rows = loads.map { $0.map { ($0 * Double(stepCount) * noise(loadNoise)).rounded() } }
        var work = RankWork(worldSize: plan.worldSize)
        for (layer, rows) in zip(plan.layers, rows) { work.add(layer, loads: rows) }
        defer { step += stepCount }
        return slowness.indices.map { rank in
            let seconds =
                slowness[rank] * (rowSeconds * work.rows[rank] + neuronSeconds * work.work[rank]) * noise(timeNoise)
            return PerformanceSample(
                firstStep: step, stepCount: stepCount, planRevision: plan.revision, stepSeconds: 2 * seconds,
                phaseSeconds: ["experts": seconds, "dispatch": seconds / 4, "combine": seconds / 4], bytesSent: 0,
                tokens: 1, residentBytes: 1, expertLoads: rank == 0 ? rows.map { $0.map { Int($0) } } : nil,
                expertRows: counting ? Int(work.rows[rank].rounded()) : nil,
                expertWork: counting ? Int(work.work[rank].rounded()) : nil)
        }
    }

    /// Reports an interval to the planner and, when it is due, takes its proposal into force.
    /// - Returns: what was proposed.
    mutating func advance(
        _ planner: inout PlacementPlanner, plan: inout PlacementPlan, loads: [[Double]], stepCount: Int = 10,
        settings: PlanningSettings = PlanningSettings()
    ) throws -> PlanProposal? {
        for (rank, sample) in samples(plan, loads: loads, stepCount: stepCount).enumerated() {
            planner.record(sample, rank: rank)
        }
        guard planner.isDue, let proposal = try planner.propose(current: plan, settings: settings, step: step - 1)
        else { return nil }
        let revision = plan.revision + 1
        plan = proposal.plan
        plan.revision = revision
        return proposal
    }
}

extension PlacementPlan {
    /// A first plan, of revision 1.
    static func first(_ allocator: String, _ model: ExpertModel, _ cluster: Cluster) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: allocator)
        var plan = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
        plan?.revision = 1
        guard let plan else { throw PlacementError.unsuitableAllocator("no plan") }
        return plan
    }
}
