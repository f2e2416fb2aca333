import ControlProtocol

/// What the state machine is told.
public enum Event: Sendable {
    /// What the database holds of a run that is not resident.
    case restored(RunState)
    /// What a run that is not there has used up.
    case known(UsedNumbers, of: String)
    case requested(ChangeRequest, Ticket)
    /// All changes so far are durable.
    case committed
    /// The changes since the last commit did not happen.
    case commitFailed
}

/// A request that changes something. Requests that only read are answered from the database, without the state machine.
public enum ChangeRequest: Hashable, Sendable {
    case registerRun(RegisterRun)
    case registerWorker(RegisterWorker)
    case report(Report)
    case reports(Reports)
    case finishRun(FinishRun)
    case pollPlan(PollPlan)
    /// - Parameter withdrawn: the plan it is about when `CoordinatorCore.isRevived` says that it is needed.
    case planProgress(PlanProgress, withdrawn: PlanInFlight?)
    case recordCheckpoint(RecordCheckpoint)
    case proposePlan(PlanSubmission)
    /// For `run`; the request may leave that open.
    case controlPlanning(ControlPlanning, run: String)
    case recordPlanning(PlanningRecord)
    case archiveRun(ArchiveRun)
    case deleteRun(DeleteRun)

    /// The run it is about.
    public var run: String {
        switch self {
        case .registerRun(let request): request.run
        case .registerWorker(let request): request.run
        case .report(let request): request.run
        case .reports(let request): request.run
        case .finishRun(let request): request.run
        case .pollPlan(let request): request.run
        case .planProgress(let request, _): request.run
        case .recordCheckpoint(let request): request.run
        case .proposePlan(let submission): submission.run
        case .controlPlanning(_, let run): run
        case .recordPlanning(let record): record.run
        case .archiveRun(let request): request.run
        case .deleteRun(let request): request.run
        }
    }

    /// Reports that it has.
    public var reportCount: Int {
        switch self {
        case .report: 1
        case .reports(let request): request.reports.count
        default: 0
        }
    }
}

extension ChangeRequest {
    /// Whether a job says it, and so that it is alive.
    var isFromRanks: Bool {
        switch self {
        case .registerRun, .registerWorker, .report, .reports, .pollPlan, .planProgress, .recordCheckpoint: true
        case .finishRun, .proposePlan, .controlPlanning, .recordPlanning, .archiveRun, .deleteRun: false
        }
    }
}

/// Numbers of a run that are not given out again.
public struct UsedNumbers: Hashable, Sendable {
    /// The highest revision.
    public var revision: Int
    /// The highest incarnation.
    public var incarnation: Int
    /// The highest number of a report.
    public var report: Int

    public init(revision: Int = 0, incarnation: Int = 0, report: Int = 0) {
        self.revision = revision
        self.incarnation = incarnation
        self.report = report
    }
}

/// Names a request until it is answered.
public struct Ticket: Hashable, Sendable {
    public let number: Int

    public init(_ number: Int) {
        self.number = number
    }
}
