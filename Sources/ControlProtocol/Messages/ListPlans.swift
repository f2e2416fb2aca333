import ExpertPlacement

/// Asks for the plans of a run, newest first, and for what operators have said about its planning.
public struct ListPlans: ControlRequest {
    public static let type = "list_plans"
    public typealias Reply = Plans

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// How many at most; nil: as many as the coordinator lists.
    public var limit: Int?

    public init(run: String? = nil, limit: Int? = nil) {
        self.run = run
        self.limit = limit
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let limit { try check.integer(limit, "limit", in: 1...limits.integer) }
    }
}

public struct Plans: ControlMessage {
    public static let type = "plans"

    public var run: String
    /// No plan is proposed by the planner.
    public var frozen: Bool
    /// Experts that the planner leaves where they are, by layer and expert.
    public var pinned: [ExpertID]
    public var plans: [PlanSummary]
    /// There are more.
    public var truncated: Bool

    public init(run: String, frozen: Bool, pinned: [ExpertID], plans: [PlanSummary], truncated: Bool) {
        self.run = run
        self.frozen = frozen
        self.pinned = pinned
        self.plans = plans
        self.truncated = truncated
    }
}
