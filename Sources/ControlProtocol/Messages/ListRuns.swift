/// Asks for the runs, the one registered last first.
public struct ListRuns: ControlRequest {
    public static let type = "list_runs"
    public typealias Reply = Runs

    /// Archived ones, too; nil: not those.
    public var all: Bool?

    public init(all: Bool? = nil) {
        self.all = all
    }

    public func validate(within limits: Limits) throws(ControlError) {}
}

public struct Runs: ControlMessage {
    public static let type = "runs"

    public var runs: [RunSummary]
    /// There are more than the coordinator lists.
    public var truncated: Bool

    public init(runs: [RunSummary], truncated: Bool) {
        self.runs = runs
        self.truncated = truncated
    }
}

/// A run as listings show it.
public struct RunSummary: Codable, Hashable, Sendable {
    /// `running` until its incarnation says how it ended; a worker that was killed says nothing.
    public enum State: String, Codable, Sendable, CaseIterable {
        case running, completed, failed, interrupted
    }

    public var run: String
    public var state: State
    public var incarnation: Int
    public var worldSize: Int
    /// Number of layers with experts, and of experts in all of them.
    public var layers: Int
    public var experts: Int
    public var allocator: String
    /// Revision of the active plan.
    public var planRevision: Int
    /// The first registration, and the last.
    public var createdAt: Timestamp
    public var startedAt: Timestamp
    public var finishedAt: Timestamp?
    public var archivedAt: Timestamp?
    /// When the last report came, the last step it covers, and the last loss reported.
    public var reportedAt: Timestamp?
    public var step: Int?
    public var loss: Double?

    public init(
        run: String, state: State, incarnation: Int, worldSize: Int, layers: Int, experts: Int, allocator: String,
        planRevision: Int, createdAt: Timestamp, startedAt: Timestamp, finishedAt: Timestamp? = nil,
        archivedAt: Timestamp? = nil, reportedAt: Timestamp? = nil, step: Int? = nil, loss: Double? = nil
    ) {
        self.run = run
        self.state = state
        self.incarnation = incarnation
        self.worldSize = worldSize
        self.layers = layers
        self.experts = experts
        self.allocator = allocator
        self.planRevision = planRevision
        self.createdAt = createdAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.archivedAt = archivedAt
        self.reportedAt = reportedAt
        self.step = step
        self.loss = loss
    }

    private enum CodingKeys: String, CodingKey {
        case run, state, incarnation, layers, experts, allocator, step, loss
        case worldSize = "world_size"
        case planRevision = "plan_revision"
        case createdAt = "created_at"
        case startedAt = "started_at"
        case finishedAt = "finished_at"
        case archivedAt = "archived_at"
        case reportedAt = "reported_at"
    }
}
