import ControlProtocol
import CoordinatorCore
import ExpertPlacement

/// What became durable of one run, held against the promises: every revision and incarnation once and in order, even after it
/// was deleted; every request at most once, nothing from an incarnation that is over.
struct RunLedger {
    struct ReportKey: Hashable { let incarnation: Int, rank: Int, sequence: Int }
    private struct Start: Hashable { let registration: String, incarnation: Int }

    let run: String
    var plans = PlanLedger()
    private(set) var incarnation = 0
    /// How often the run was deleted.
    private(set) var deletions = 0
    /// The newest incarnation that went with it; 0: none.
    private var deletedIncarnation = 0
    private var starts = Set<Start>()
    /// Of the run that is there: with a deletion they are forgotten.
    private var registrations = Set<String>()
    private var archives = Set<Timestamp>()
    private(set) var settings = PlanningSettings()
    private var reports = Set<ReportKey>()
    private var workers = Set<RegisterWorker>()
    private var finished = Set<Int>()
    private var checkpoints = Set<RecordCheckpoint>()
    private var switched = [Int: Set<LayerSwitch>]()
    private var found = [String]()

    init(run: String) { self.run = run }

    var problems: [String] { found + plans.problems }
    /// Whether the run is there no more.
    var isDeleted: Bool { plans.isDeleted }
    /// Whether the ranks have said so.
    var hasEnded: Bool { finished.contains(incarnation) }
    /// Whether an incarnation went with a run that was deleted.
    func isDeleted(_ incarnation: Int) -> Bool { incarnation <= deletedIncarnation }

    private mutating func report(_ problem: String) { found.append("\(run): \(problem)") }

    mutating func apply(_ change: Change) {
        plans.apply(change)
        switch change {
        case .putRun(_, let number, _):
            if number != incarnation + 1 { report("incarnation \(number) after \(incarnation)") }
        case .addIncarnation(let request, let number, _):
            if number != incarnation + 1 { report("incarnation \(number) after \(incarnation)") }
            if !registrations.insert(request.registration).inserted {
                report("start \(request.registration) was applied twice")
            }
            starts.insert(Start(registration: request.registration, incarnation: number))
            incarnation = number
        case .addPlan(let record): requireCurrent(record.incarnation, "a plan")
        case .setPlanProgress(let progress, _):
            requireCurrent(progress.incarnation, "progress")
            let (before, now) = (switched[progress.revision, default: []], Set(progress.switched))
            if !before.isSubset(of: now) { report("layers of revision \(progress.revision) switched back") }
            if before == now, progress.transition == .applying { report("\(progress) was applied twice") }
            switched[progress.revision] = now
        case .setPlanning(_, let new):
            if new == settings { report("planning was set to what it is") }
            settings = new
        case .putWorker(let request, _):
            requireCurrent(request.incarnation, "a worker")
            if !workers.insert(request).inserted { report("\(request) was applied twice") }
        case .addReport(let new, _, _, _):
            requireCurrent(new.incarnation, "a report")
            if !reports.insert(Self.key(new)).inserted { report("\(Self.key(new)) was applied twice") }
        case .addCheckpoint(let request, _, _):
            requireCurrent(request.incarnation, "a checkpoint")
            if !checkpoints.insert(request).inserted { report("\(request) was applied twice") }
        case .endIncarnation(let request, _):
            requireCurrent(request.incarnation, "an outcome")
            if !finished.insert(request.incarnation).inserted { report("\(request) was applied twice") }
        case .archiveRun(_, let time):
            requireEnd("archived")
            if let time { archives.insert(time) }
        case .deleteRun(_, let used, _):
            requireEnd("deleted")
            let given = UsedNumbers(revision: plans.lastRevision, incarnation: incarnation, report: reports.count)
            if used != given {
                report("\(used) are not the numbers that were given out")
            }
            deletions += 1
            deletedIncarnation = incarnation
            registrations = []
            settings = PlanningSettings()
        case .raiseRevision, .addEvent, .setPlanState, .setPlanObservation, .dropReports: break
        }
    }

    private mutating func requireCurrent(_ number: Int, _ what: String) {
        if number != incarnation {
            report("\(what) of incarnation \(number) was applied in incarnation \(incarnation)")
        }
        if isDeleted(number) { report("\(what) of incarnation \(number) was applied after its deletion") }
    }

    /// Nobody is silent for long enough here.
    private mutating func requireEnd(_ what: String) {
        if !hasEnded { report("incarnation \(incarnation) was \(what) while it was running") }
    }

    private static func key(_ report: Report) -> ReportKey {
        ReportKey(incarnation: report.incarnation, rank: report.rank, sequence: report.sequence)
    }

    /// Whether what an answer says is recorded.
    func holds(_ request: ChangeRequest, _ answer: Answer) -> Bool {
        switch (request, answer) {
        case (_, .refused): true
        case (.registerRun(let request), .runRegistered(let reply)):
            starts.contains(Start(registration: request.registration, incarnation: reply.incarnation))
                && knows(reply.plan)
        case (.registerWorker(let request), .workerRegistered(let reply)):
            workers.contains(request) && (reply.incarnation, reply.rank) == (request.incarnation, request.rank)
        case (.report(let report), .acknowledged(let reply)):
            reports.contains(Self.key(report)) && reply.sequence == report.sequence
        case (.reports(let request), .acknowledged(let reply)):
            request.each.allSatisfy { reports.contains(Self.key($0)) }
                && reply.sequence == request.reports.last?.sequence
        case (.recordCheckpoint(let request), .acknowledged): checkpoints.contains(request)
        case (.finishRun(let request), .acknowledged): finished.contains(request.incarnation)
        case (.pollPlan, .planOffer(let offer)): offer.plan.map(knows) ?? true
        case (.planProgress(let progress, _), .acknowledged): holds(progress)
        case (.proposePlan(let submission), .placementProposed(let reply)):
            if let plan = reply.plan, reply.revision != nil { !submission.dryRun && knows(plan) } else { true }
        case (.archiveRun(let request), .runArchived(let reply)):
            request.dryRun || archives.contains(reply.archivedAt)
        case (.deleteRun(let request), .acknowledged): request.dryRun || deletions > 0
        case (.controlPlanning, .planningState), (.recordPlanning, .acknowledged): true
        default: false
        }
    }

    private func knows(_ plan: PlacementPlan) -> Bool {
        plans.plan(plan.revision)?.plan.layers.map(\.experts) == plan.layers.map(\.experts)
    }

    private func holds(_ progress: PlanProgress) -> Bool {
        guard let state = plans.plan(progress.revision)?.state else { return false }
        switch progress.transition {
        case .accepted: return ![.proposed, .rejected, .withdrawn].contains(state)
        case .applying: return ![.proposed, .rejected, .withdrawn, .accepted].contains(state)
        case .applied: return state == .active || state == .superseded
        case .rejected: return state == .rejected || state == .withdrawn
        }
    }
}
