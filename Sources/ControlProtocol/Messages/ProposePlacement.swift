import ExpertPlacement

/// An operator proposes a plan: one of his own (`plan`), an earlier one (`rollbackTo`), or the planner's (`replan`); exactly
/// one of the three. Not to be repeated blindly: where an answer was lost, `list_plans` tells what became of it.
public struct ProposePlacement: ControlRequest {
    public static let type = "propose_placement"
    public typealias Reply = PlacementProposed

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// Its revision does not count.
    public var plan: PlacementPlan?
    /// The revision whose meshes are to be proposed again, under a new revision.
    public var rollbackTo: Int?
    /// The planner looks at the plan now, and proposes a better one if it finds one.
    public var replan: Bool
    /// Nothing is changed; the answer says what would be.
    public var dryRun: Bool
    public var who: String
    public var why: String

    public init(
        run: String? = nil, plan: PlacementPlan? = nil, rollbackTo: Int? = nil, replan: Bool = false,
        dryRun: Bool = false, who: String, why: String
    ) {
        self.run = run
        self.plan = plan
        self.rollbackTo = rollbackTo
        self.replan = replan
        self.dryRun = dryRun
        self.who = who
        self.why = why
    }

    private enum CodingKeys: String, CodingKey {
        case run, plan, replan, who, why
        case rollbackTo = "rollback_to"
        case dryRun = "dry_run"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let plan { try check.plan(plan) }
        if let rollbackTo { try check.integer(rollbackTo, "rollback_to", in: 1...limits.integer) }
        guard [plan != nil, rollbackTo != nil, replan].count(where: { $0 }) == 1 else {
            throw ControlError(.badRequest, "exactly one of plan, rollback_to and replan is needed")
        }
        try check.text(who, "who", bytes: limits.whoBytes)
        try check.text(why, "why", bytes: limits.reasonBytes)
    }
}

/// What was proposed, or would be.
public struct PlacementProposed: ControlMessage {
    public static let type = "placement_proposed"

    public var run: String
    /// Of the plan that is proposed now; nil: a dry run, or nothing to propose.
    public var revision: Int?
    /// Nil: nothing to propose.
    public var plan: PlacementPlan?
    /// What is expected of the plan; nil: nothing to propose.
    public var prediction: PlanPrediction?
    /// The reason, for people to read.
    public var why: String

    public init(run: String, revision: Int?, plan: PlacementPlan?, prediction: PlanPrediction?, why: String) {
        self.run = run
        self.revision = revision
        self.plan = plan
        self.prediction = prediction
        self.why = why
    }
}
