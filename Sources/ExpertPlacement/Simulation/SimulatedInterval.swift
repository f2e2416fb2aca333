/// Some steps of a run, as a simulation is told of them.
public struct SimulatedInterval: Hashable, Sendable {
    public var firstStep: Int
    public var stepCount: Int
    /// Rows of each expert, [layer][expert], of all ranks over the steps.
    public var expertLoads: [[Int]]
    /// Seconds of a step that do not depend on where experts are: attention, router, dense parameters.
    public var denseSeconds: Double

    public init(firstStep: Int, stepCount: Int, expertLoads: [[Int]], denseSeconds: Double = 0) {
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.expertLoads = expertLoads
        self.denseSeconds = denseSeconds
    }
}

/// What becomes of an interval under a policy.
public struct IntervalOutcome: Hashable, Sendable, Codable {
    public var firstStep: Int
    public var stepCount: Int
    /// Revision of the plan in force at the end.
    public var planRevision: Int
    /// Mean over slowest rank, the mean over layers and steps: 1 is perfect.
    public var balance: Double
    /// Seconds of a step, moves apart: the mean over the steps.
    public var stepSeconds: Double
    /// Of these, seconds of the experts with dispatch and combine, the layers' slowest ranks added up.
    public var expertSeconds: Double
    /// Bytes that moved before the steps, all ranks together, and the seconds that took.
    public var bytesMoved: Int
    public var moveSeconds: Double
    /// Whether a plan was proposed after the last step.
    public var isReplanned: Bool

    private enum CodingKeys: String, CodingKey {
        case balance
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case stepSeconds = "step_seconds"
        case expertSeconds = "expert_seconds"
        case bytesMoved = "bytes_moved"
        case moveSeconds = "move_seconds"
        case isReplanned = "replanned"
    }
}

/// What became of a whole trace under a policy.
public struct SimulationTotals: Hashable, Sendable, Codable {
    public var steps = 0
    /// Means over the steps; moves are in `meanStepSeconds`.
    public var meanStepSeconds = 0.0
    public var meanExpertSeconds = 0.0
    public var meanBalance = 0.0
    /// Of the interval with the worst one.
    public var worstBalance = 1.0
    public var bytesMoved = 0
    public var moveSeconds = 0.0
    public var plans = 0

    public init() {}

    public mutating func add(_ outcome: IntervalOutcome) {
        let old = Double(steps)
        steps = steps.saturatingSum(outcome.stepCount)
        let (count, all) = (Double(outcome.stepCount), Double(max(1, steps)))
        func mean(_ before: Double, _ sum: Double) -> Double { before * (old / all) + sum / all }
        meanStepSeconds = mean(meanStepSeconds, outcome.stepSeconds * count + outcome.moveSeconds)
        meanExpertSeconds = mean(meanExpertSeconds, outcome.expertSeconds * count)
        meanBalance = mean(meanBalance, outcome.balance * count)
        worstBalance = min(worstBalance, outcome.balance)
        bytesMoved = bytesMoved.saturatingSum(outcome.bytesMoved)
        moveSeconds += outcome.moveSeconds
        plans += outcome.isReplanned ? 1 : 0
    }

    private enum CodingKeys: String, CodingKey {
        case steps, plans
        case meanStepSeconds = "mean_step_seconds"
        case meanExpertSeconds = "mean_expert_seconds"
        case meanBalance = "mean_balance"
        case worstBalance = "worst_balance"
        case bytesMoved = "bytes_moved"
        case moveSeconds = "move_seconds"
    }
}
