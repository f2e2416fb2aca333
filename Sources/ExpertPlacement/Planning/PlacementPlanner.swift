/// Turns samples into proposals: what the coordinator's planning loop and a job without coordinator have in common.
///
/// A pure value: the same samples and calls lead to the same proposals.
public struct PlacementPlanner: Sendable {
    public let model: ExpertModel
    public let cluster: Cluster
    /// Steps between two looks at the plan.
    public let intervalSteps: Int

    private var allocator: any ExpertsAllocator
    private var stepsSinceLook = 0

    public init(allocator: any ExpertsAllocator, model: ExpertModel, cluster: Cluster, intervalSteps: Int) {
        self.allocator = allocator
        self.model = model
        self.cluster = cluster
        self.intervalSteps = max(1, intervalSteps)
    }

    /// Takes a sample into account.
    public mutating func record(_ sample: PerformanceSample, rank: Int) {
        allocator.collectPerformance(sample, rank: rank)
        if sample.expertLoads != nil { stepsSinceLook += sample.stepCount }
    }

    /// Whether it is time to propose: loads of a new interval are there, or the load has jumped.
    public var isDue: Bool {
        stepsSinceLook >= intervalSteps || (stepsSinceLook > 0 && allocator.hasLoadJumped)
    }

    /// Looks at the plan in force.
    /// - Parameter step: the last that the samples are of.
    /// - Returns: a better plan; nil: keep the one in force.
    /// - Throws: `PlacementError` when the policy cannot place the model, or its plan does not fit the ranks' memory.
    public mutating func propose(
        current: PlacementPlan, settings: PlanningSettings, step: Int
    ) throws(PlacementError) -> PlanProposal? {
        stepsSinceLook = 0
        if settings.frozen { return nil }
        guard
            let plan = try allocator.allocateExperts(current: current, model: model, cluster: cluster, step: step)
        else { return nil }
        try PlanMemory.check(plan, model: model, cluster: cluster)
        return PlanProposal(plan: plan, prediction: assess(plan, current: current), why: "the load changed")
    }

    /// What is to be expected of `plan`, from the loads and speeds measured so far.
    public func assess(_ plan: PlacementPlan, current: PlacementPlan) -> PlanPrediction {
        allocator.prediction ?? PlanPrediction()
    }

    /// What happened under the plan in force compared with the one before; once for each plan, when all ranks have
    /// reported a whole interval under it.
    public mutating func observation() -> PlanObservation? { nil }

    /// The revision that the last observation is of.
    public private(set) var observedRevision: Int?
}
