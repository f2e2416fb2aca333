import ExpertPlacement

/// Asks for a plan of a run.
public struct ShowPlacement: ControlRequest {
    public static let type = "show_placement"
    public typealias Reply = Placement

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// Nil: all layers.
    public var layer: Int?
    /// Nil: the active plan.
    public var revision: Int?

    public init(run: String? = nil, layer: Int? = nil, revision: Int? = nil) {
        self.run = run
        self.layer = layer
        self.revision = revision
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let layer { try check.integer(layer, "layer", in: 0...limits.layers - 1) }
        if let revision { try check.integer(revision, "revision", in: 1...limits.integer) }
    }
}

public struct Placement: ControlMessage {
    public static let type = "placement"

    public var run: String
    public var state: PlanState
    /// The incarnation under which the plan was made.
    public var incarnation: Int
    public var createdAt: Timestamp
    public var who: String
    public var why: String
    /// The layer asked for: `plan.layers` has that one alone. Nil: it has all.
    public var layer: Int?
    public var plan: PlacementPlan

    public init(
        run: String, state: PlanState, incarnation: Int, createdAt: Timestamp, who: String, why: String,
        layer: Int? = nil, plan: PlacementPlan
    ) {
        self.run = run
        self.state = state
        self.incarnation = incarnation
        self.createdAt = createdAt
        self.who = who
        self.why = why
        self.layer = layer
        self.plan = plan
    }

    private enum CodingKeys: String, CodingKey {
        case run, state, incarnation, who, why, layer, plan
        case createdAt = "created_at"
    }
}
