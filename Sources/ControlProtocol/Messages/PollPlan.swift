import ExpertPlacement

/// Rank 0 asks whether a plan is proposed.
public struct PollPlan: ControlRequest {
    public static let type = "poll_plan"
    public typealias Reply = PlanOffer

    public var run: String
    public var incarnation: Int
    /// Of the plan that is active on the ranks. Plans that are not newer are not offered.
    public var revision: Int

    public init(run: String, incarnation: Int, revision: Int) {
        self.run = run
        self.incarnation = incarnation
        self.revision = revision
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.count(revision, "revision")
    }
}

/// The plan that is proposed. It is offered again until the ranks have said what becomes of it, or it is withdrawn.
public struct PlanOffer: ControlMessage {
    public static let type = "plan_offer"

    /// Nil: nothing is proposed.
    public var plan: PlacementPlan?

    public init(plan: PlacementPlan?) {
        self.plan = plan
    }
}
