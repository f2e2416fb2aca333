/// Asks for the experts' loads of a run, interval by interval, in the order in which rank 0's reports came.
public struct ListLoads: ControlRequest {
    public static let type = "list_loads"
    public typealias Reply = Loads

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// Those that came after the ones of this number; nil: the newest.
    public var after: Int?
    /// Of how many intervals at most; nil: as many as the coordinator lists. Of a large model it lists fewer.
    public var limit: Int?

    public init(run: String? = nil, after: Int? = nil, limit: Int? = nil) {
        self.run = run
        self.after = after
        self.limit = limit
    }

    public func validate(within limits: Limits) throws(ControlError) {
        try Validation(limits: limits).page(run, after: after, limit: limit)
    }
}

public struct Loads: ControlMessage {
    public static let type = "loads"

    public var run: String
    /// Ascending by number.
    public var loads: [IntervalLoads]
    /// There are more after these.
    public var truncated: Bool

    public init(run: String, loads: [IntervalLoads], truncated: Bool) {
        self.run = run
        self.loads = loads
        self.truncated = truncated
    }
}

/// What came to the experts in some steps.
public struct IntervalLoads: Codable, Hashable, Sendable {
    /// Of the report that it came with, and so of the `Interval`.
    public var number: Int
    public var incarnation: Int
    public var firstStep: Int
    public var stepCount: Int
    public var planRevision: Int
    /// As in `PerformanceSample`.
    public var expertLoads: [[Int]]

    public init(
        number: Int, incarnation: Int, firstStep: Int, stepCount: Int, planRevision: Int, expertLoads: [[Int]]
    ) {
        self.number = number
        self.incarnation = incarnation
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.expertLoads = expertLoads
    }

    private enum CodingKeys: String, CodingKey {
        case number, incarnation
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case expertLoads = "expert_loads"
    }
}
