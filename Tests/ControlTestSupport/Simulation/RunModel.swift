import ControlProtocol
import CoordinatorCore
import ExpertPlacement

/// What a database holds of one run after the changes that were committed, and what of a state machine can be restored from
/// that. Written from what `Change` says: the store and the state machine are held against it.
public struct RunModel: Sendable {
    private var registration: RegisterRun?
    private var incarnation = 0
    private var registrations = [String: Int]()
    private var plans = [Int: PlanInFlight]()
    private var planIncarnations = [Int: Int]()
    private var planning = PlanningSettings()
    private var workers = [Int: RunState.Worker]()
    private var reportCount = 0
    private var outcome: FinishRun.Outcome?
    private var archivedAt: Timestamp?
    private var usedRevision = 0
    private var checkpointStep: Int?
    /// What a run that is not there has used up; nil: it is there, or never was.
    public private(set) var usedNumbers: UsedNumbers?

    public init() {}

    public mutating func apply(_ change: Change) {
        switch change {
        case .putRun(let request, let number, _):
            registration = request
            incarnation = number
            workers = [:]
            checkpointStep = nil
            outcome = nil
            archivedAt = nil
            if let usedNumbers { reportCount = usedNumbers.report }
            usedNumbers = nil
        case .addIncarnation(let request, let number, _): registrations[request.registration] = number
        case .addPlan(let record):
            plans[record.plan.revision] = PlanInFlight(plan: record.plan, state: record.state, origin: record.origin)
            planIncarnations[record.plan.revision] = record.incarnation
        case .setPlanState(_, let revision, let state, _, _): plans[revision]?.state = state
        case .setPlanProgress(let progress, let acceptedStep):
            plans[progress.revision]?.acceptedStep = acceptedStep
            plans[progress.revision]?.switched = progress.switched
        case .setPlanning(_, let settings): planning = settings
        case .putWorker(let request, _):
            workers[request.rank] = RunState.Worker(
                host: request.host, processID: request.processID,
                reports: workers[request.rank]?.reports ?? SequenceWindow())
        case .addReport(let report, let number, let window, _):
            workers[report.rank]?.reports = window
            reportCount = number
        case .addCheckpoint(let request, _, _): checkpointStep = request.step
        case .endIncarnation(let request, _): outcome = request.outcome
        case .raiseRevision(_, let revision): usedRevision = revision
        case .archiveRun(_, let time): archivedAt = time
        case .deleteRun(_, let used, _):
            self = RunModel()
            usedNumbers = used
        case .dropReports, .setPlanObservation, .addEvent: break
        }
    }

    /// A plan by its revision, as if it were in flight.
    public func plan(_ revision: Int) -> PlanInFlight? { plans[revision] }

    /// What the state machine has to know; nil before the first registration.
    public var state: RunState? {
        guard let registration, let active = plans.first(where: { $0.value.state == .active })?.value else {
            return nil
        }
        let rejected = plans.keys.filter { revision in
            plans[revision]?.state == .rejected && planIncarnations[revision] == incarnation
                && revision > active.plan.revision
        }.sorted().suffix(RunState.mostRejectedPlans)
        return RunState(
            run: registration.run, model: registration.model, allocator: registration.allocator,
            cluster: Cluster(registration), interval: registration.interval, plan: active.plan.with(active.switched),
            planInFlight: plans.first { $0.value.state.isInFlight }?.value,
            rejectedPlans: rejected.compactMap { plans[$0]?.plan },
            pastPlans: plans.filter { revision, plan in
                !plan.state.isInFlight && plan.origin != .registration && planIncarnations[revision] == incarnation
            }.mapValues(\.state), planning: planning, lastRevision: max(usedRevision, plans.keys.max() ?? 0),
            incarnation: incarnation,
            registrations: registrations, outcome: outcome, archivedAt: archivedAt,
            checkpointStep: checkpointStep, workers: workers,
            reportCount: reportCount)
    }
}
