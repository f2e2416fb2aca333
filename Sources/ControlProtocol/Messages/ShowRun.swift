import ExpertPlacement

/// Asks for everything about one run.
public struct ShowRun: ControlRequest {
    public static let type = "show_run"
    public typealias Reply = RunShown

    /// Nil: the run registered last that is not archived.
    public var run: String?

    public init(run: String? = nil) {
        self.run = run
    }

    public func validate(within limits: Limits) throws(ControlError) {
        if let run { try Validation(limits: limits).runName(run) }
    }
}

public struct RunShown: ControlMessage {
    public static let type = "run"

    public var summary: RunSummary
    public var model: ExpertModel
    /// Where rank 0 of the current incarnation runs.
    public var host: String
    public var processID: Int
    /// Why the last incarnation ended, when it said so.
    public var reason: String?
    public var configuration: [String: String]
    /// Where optimizer state is kept; nil: not recorded.
    public var ownership: OwnershipPolicy?
    /// What messages between the ranks cost, as measured at start; nil: not measured.
    public var exchange: ExchangeCosts?
    /// Reports stored now; the oldest are dropped in time.
    public var storedReports: Int
    /// The newest events, newest first.
    public var events: [RunEvent]

    public init(
        summary: RunSummary, model: ExpertModel, host: String, processID: Int, reason: String?,
        configuration: [String: String], ownership: OwnershipPolicy? = nil, exchange: ExchangeCosts? = nil,
        storedReports: Int, events: [RunEvent]
    ) {
        self.summary = summary
        self.model = model
        self.host = host
        self.processID = processID
        self.reason = reason
        self.configuration = configuration
        self.ownership = ownership
        self.exchange = exchange
        self.storedReports = storedReports
        self.events = events
    }

    private enum CodingKeys: String, CodingKey {
        case summary, model, host, reason, configuration, ownership, exchange, events
        case processID = "process_id"
        case storedReports = "stored_reports"
    }
}

/// Something that happened to a run or its plans: when, who and why.
public struct RunEvent: Codable, Hashable, Sendable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        case runRegistered = "run_registered"
        case runFinished = "run_finished"
        case runArchived = "run_archived"
        /// It was archived while nothing was heard of it; then its ranks spoke.
        case runBroughtBack = "run_brought_back"
        /// The database was restored from a backup.
        case databaseRestored = "database_restored"
        case checkpointRecorded = "checkpoint_recorded"
        case planProposed = "plan_proposed"
        case planAccepted = "plan_accepted"
        case planApplying = "plan_applying"
        case planActivated = "plan_activated"
        case planSuperseded = "plan_superseded"
        case planRejected = "plan_rejected"
        case planAbandoned = "plan_abandoned"
        case planWithdrawn = "plan_withdrawn"
        /// The planner could not propose a plan.
        case planningFailed = "planning_failed"
        case planningFrozen = "planning_frozen"
        case planningUnfrozen = "planning_unfrozen"
        case expertPinned = "expert_pinned"
        case expertUnpinned = "expert_unpinned"
    }

    public var kind: Kind
    public var at: Timestamp
    public var incarnation: Int
    /// The plan's, for events about plans.
    public var revision: Int?
    public var who: String
    public var why: String

    public init(kind: Kind, at: Timestamp, incarnation: Int, revision: Int? = nil, who: String, why: String) {
        self.kind = kind
        self.at = at
        self.incarnation = incarnation
        self.revision = revision
        self.who = who
        self.why = why
    }
}
