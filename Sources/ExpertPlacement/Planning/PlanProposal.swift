/// A plan that a planner proposes.
public struct PlanProposal: Hashable, Sendable, Codable {
    /// Its revision is not set.
    public var plan: PlacementPlan
    /// What is expected of it.
    public var prediction: PlanPrediction
    /// The reason, for people to read.
    public var why: String

    public init(plan: PlacementPlan, prediction: PlanPrediction, why: String) {
        self.plan = plan
        self.prediction = prediction
        self.why = why
    }
}
