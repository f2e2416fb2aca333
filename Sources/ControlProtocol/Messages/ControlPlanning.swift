import ExpertPlacement

/// An operator says what the planner may do. Setting what is set already changes nothing.
public struct ControlPlanning: ControlRequest {
    public static let type = "control_planning"
    public typealias Reply = PlanningState

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// Whether the planner is to propose nothing; nil: as it is. Freezing takes back a plan that the ranks have not accepted.
    public var freeze: Bool?
    /// Experts that the planner is to leave where they are, and those that it may move again.
    public var pin: [ExpertID]
    public var unpin: [ExpertID]
    /// Nothing is changed; the answer says what would be.
    public var dryRun: Bool
    public var who: String
    public var why: String

    public init(
        run: String? = nil, freeze: Bool? = nil, pin: [ExpertID] = [], unpin: [ExpertID] = [], dryRun: Bool = false,
        who: String, why: String
    ) {
        self.run = run
        self.freeze = freeze
        self.pin = pin
        self.unpin = unpin
        self.dryRun = dryRun
        self.who = who
        self.why = why
    }

    private enum CodingKeys: String, CodingKey {
        case run, freeze, pin, unpin, who, why
        case dryRun = "dry_run"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        try check.experts(pin, "pin")
        try check.experts(unpin, "unpin")
        guard freeze != nil || !pin.isEmpty || !unpin.isEmpty else {
            throw ControlError(.badRequest, "one of freeze, pin and unpin is needed")
        }
        if let expert = Set(pin).intersection(unpin).min() {
            throw ControlError(.badRequest, "\(expert) is in pin and in unpin")
        }
        try check.text(who, "who", bytes: limits.whoBytes)
        try check.text(why, "why", bytes: limits.reasonBytes)
    }
}

/// What the planner may do now, or after a dry run what it might.
public struct PlanningState: ControlMessage {
    public static let type = "planning_state"

    public var run: String
    public var frozen: Bool
    /// By layer and expert.
    public var pinned: [ExpertID]
    /// Of the proposed plan that was taken back.
    public var withdrawnRevision: Int?

    public init(run: String, frozen: Bool, pinned: [ExpertID], withdrawnRevision: Int? = nil) {
        self.run = run
        self.frozen = frozen
        self.pinned = pinned
        self.withdrawnRevision = withdrawnRevision
    }

    private enum CodingKeys: String, CodingKey {
        case run, frozen, pinned
        case withdrawnRevision = "withdrawn_revision"
    }
}
