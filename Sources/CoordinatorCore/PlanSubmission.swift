import ExpertPlacement

/// A plan that an operator proposes, with what is expected of it.
public struct PlanSubmission: Hashable, Sendable {
    public var run: String
    /// Its revision and switch steps do not count.
    public var plan: PlacementPlan
    public var prediction: PlanPrediction
    /// Revision of the active plan that it was compared with.
    public var from: Int
    public var dryRun: Bool
    public var who: String
    public var why: String

    public init(
        run: String, plan: PlacementPlan, prediction: PlanPrediction, from: Int, dryRun: Bool, who: String, why: String
    ) {
        self.run = run
        self.plan = plan
        self.prediction = prediction
        self.from = from
        self.dryRun = dryRun
        self.who = who
        self.why = why
    }
}
