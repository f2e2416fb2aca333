/// Asks for the experts' loads of a run, interval by interval, in the order in which rank 0's reports came. Of a large model there are
/// fewer on a page.
public typealias ListLoads = ListPage<Loads>

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
    public var droppedTokens: [Int]?

    public init(
        number: Int, incarnation: Int, firstStep: Int, stepCount: Int, planRevision: Int, expertLoads: [[Int]],
        droppedTokens: [Int]? = nil
    ) {
        self.number = number
        self.incarnation = incarnation
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.expertLoads = expertLoads
        self.droppedTokens = droppedTokens
    }

    private enum CodingKeys: String, CodingKey {
        case number, incarnation
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case expertLoads = "expert_loads"
        case droppedTokens = "dropped_tokens"
    }
}
