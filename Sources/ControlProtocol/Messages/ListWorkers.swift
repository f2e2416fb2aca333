/// Asks for the workers of the current incarnation of a run, or of all runs.
public struct ListWorkers: ControlRequest {
    public static let type = "list_workers"
    public typealias Reply = Workers

    public var run: String?

    public init(run: String? = nil) {
        self.run = run
    }

    public func validate(within limits: Limits) throws(ControlError) {
        if let run { try Validation(limits: limits).runName(run) }
    }
}

public struct Workers: ControlMessage {
    public static let type = "workers"

    /// By run and rank.
    public var workers: [WorkerSummary]
    /// There are more than the coordinator lists.
    public var truncated: Bool

    public init(workers: [WorkerSummary], truncated: Bool) {
        self.workers = workers
        self.truncated = truncated
    }
}

/// A worker as listings show it.
public struct WorkerSummary: Codable, Hashable, Sendable {
    public var run: String
    public var incarnation: Int
    public var rank: Int
    public var host: String
    public var processID: Int
    public var registeredAt: Timestamp
    /// When its last report came, and the last step that covers.
    public var reportedAt: Timestamp?
    public var step: Int?
    /// Mean wall-clock seconds of a step, and memory, from the last report.
    public var stepSeconds: Double?
    public var residentBytes: Int?

    public init(
        run: String, incarnation: Int, rank: Int, host: String, processID: Int, registeredAt: Timestamp,
        reportedAt: Timestamp? = nil, step: Int? = nil, stepSeconds: Double? = nil, residentBytes: Int? = nil
    ) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
        self.host = host
        self.processID = processID
        self.registeredAt = registeredAt
        self.reportedAt = reportedAt
        self.step = step
        self.stepSeconds = stepSeconds
        self.residentBytes = residentBytes
    }

    private enum CodingKeys: String, CodingKey {
        case run, incarnation, rank, host, step
        case processID = "process_id"
        case registeredAt = "registered_at"
        case reportedAt = "reported_at"
        case stepSeconds = "step_seconds"
        case residentBytes = "resident_bytes"
    }
}
