/// A placement policy: decides on a device mesh for each expert of the whole model at once.
///
/// A value whose decisions depend on nothing but what it was given, so a decision can be replayed. After veScale's
/// `ExpertsAllocator` (volcengine/veScale pull request 59), which decides layer by layer.
public protocol ExpertsAllocator: Sendable {
    /// Takes a sample into account.
    mutating func collectPerformance(_ sample: PerformanceSample, rank: Int)

    /// Decides on a plan for the steps from `step` on.
    /// - Parameter current: the plan in force; nil before the first.
    /// - Returns: the new plan, its revision unset; nil for no change.
    /// - Throws: `PlacementError` when the policy cannot place this model on this cluster.
    mutating func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan?

    /// The loads it decides from; nil: it makes no forecasts of its own.
    var loadForecast: LoadForecast? { get }

    /// What it expects of the plan it decided on last, more cautious than the mean maybe; nil: it predicts nothing.
    var prediction: PlanPrediction? { get }

    /// What a plan of this policy has to gain before `PlacementPlanner` proposes it; nil: whatever it decides is proposed.
    var hysteresis: Hysteresis? { get }

    /// Layers whose placement in force broke a rule of the policy when it decided last, and has to go whatever that costs.
    var brokenLayers: [Int] { get }

    /// Whether a layer's placement, on the ranks of `cluster`, breaks no rule of the policy.
    func keepsRules(_ placement: LayerPlacement, cluster: Cluster) -> Bool
}

extension ExpertsAllocator {
    public var loadForecast: LoadForecast? { nil }
    public var prediction: PlanPrediction? { nil }
    public var hysteresis: Hysteresis? { Hysteresis() }
    public var brokenLayers: [Int] { [] }
    public func keepsRules(_ placement: LayerPlacement, cluster: Cluster) -> Bool { true }
}
