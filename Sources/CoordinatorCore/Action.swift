import ControlProtocol
import ExpertPlacement

/// What the state machine wants done. All `store` actions since the last commit are to be made durable, in order and in one
/// transaction, before any of the answers is sent.
public enum Action: Hashable, Sendable {
    case store(Change)
    case answer(Ticket, Answer)
}

/// The answer to a change request.
public enum Answer: Hashable, Sendable {
    case runRegistered(RunRegistered)
    case workerRegistered(WorkerRegistered)
    case acknowledged(Acknowledged)
    case planOffer(PlanOffer)
    case placementProposed(PlacementProposed)
    case planningState(PlanningState)
    case runArchived(RunArchived)
    case refused(ControlError)
}

/// A change of the database.
public enum Change: Hashable, Sendable {
    /// A run's first registration, or a later one, which keeps the time of the first.
    case putRun(RegisterRun, incarnation: Int, at: Timestamp)
    case addIncarnation(RegisterRun, number: Int, at: Timestamp)
    /// A plan of the run, in its `state`.
    case addPlan(PlanRecord)
    /// - Parameter reason: why it came to an end; nil: it has not.
    case setPlanState(run: String, revision: Int, PlanState, reason: String?, at: Timestamp)
    /// What the ranks told of a plan: steps of the switch, and what it took.
    case setPlanProgress(PlanProgress, acceptedStep: Int?)
    case setPlanObservation(run: String, revision: Int, PlanObservation)
    case setPlanning(run: String, PlanningSettings)
    case putWorker(RegisterWorker, at: Timestamp)
    /// - Parameter window: the worker's, after this report.
    case addReport(Report, number: Int, window: SequenceWindow, at: Timestamp)
    /// Drops stored reports with lower numbers.
    case dropReports(run: String, below: Int)
    /// - Parameter keep: how many of the run's stay.
    case addCheckpoint(RecordCheckpoint, keep: Int, at: Timestamp)
    case endIncarnation(FinishRun, at: Timestamp)
    /// Revisions up to this one are used.
    case raiseRevision(run: String, to: Int)
    /// - Parameter at: nil: it is archived no more.
    case archiveRun(String, at: Timestamp?)
    /// - Parameter used: what stays of it.
    case deleteRun(DeleteRun, used: UsedNumbers, at: Timestamp)
    case addEvent(run: String, RunEvent)
}

extension Change {
    /// The run it is about.
    public var run: String {
        switch self {
        case .putRun(let request, _, _), .addIncarnation(let request, _, _): request.run
        case .addPlan(let record): record.run
        case .setPlanState(let run, _, _, _, _), .setPlanObservation(let run, _, _), .setPlanning(let run, _),
            .dropReports(let run, _), .raiseRevision(let run, _), .archiveRun(let run, _), .addEvent(let run, _):
            run
        case .setPlanProgress(let progress, _): progress.run
        case .putWorker(let request, _): request.run
        case .addReport(let report, _, _, _): report.run
        case .addCheckpoint(let request, _, _): request.run
        case .endIncarnation(let request, _): request.run
        case .deleteRun(let request, _, _): request.run
        }
    }
}

/// A plan as it is recorded.
public struct PlanRecord: Hashable, Sendable {
    public let run: String
    public let incarnation: Int
    public let plan: PlacementPlan
    public let state: PlanState
    public let origin: PlanOrigin
    public let who: String
    public let why: String
    /// What is expected of it; nil for plans that are active from the start.
    public let prediction: PlanPrediction?
    public let at: Timestamp

    public init(
        run: String, incarnation: Int, plan: PlacementPlan, state: PlanState, origin: PlanOrigin = .registration,
        who: String, why: String, prediction: PlanPrediction? = nil, at: Timestamp
    ) {
        self.run = run
        self.incarnation = incarnation
        self.plan = plan
        self.state = state
        self.origin = origin
        self.who = who
        self.why = why
        self.prediction = prediction
        self.at = at
    }
}
