/// A request of any type, as the coordinator receives it.
public enum AnyRequest: Hashable, Sendable {
    case registerRun(RegisterRun)
    case registerWorker(RegisterWorker)
    case report(Report)
    case reports(Reports)
    case finishRun(FinishRun)
    case listRuns(ListRuns)
    case showRun(ShowRun)
    case showPlacement(ShowPlacement)
    case listWorkers(ListWorkers)
    case pollPlan(PollPlan)
    case planProgress(PlanProgress)
    case recordCheckpoint(RecordCheckpoint)
    case listCheckpoints(ListCheckpoints)
    case listPlans(ListPlans)
    case listIntervals(ListIntervals)
    case listLoads(ListLoads)
    case showTimings(ShowTimings)
    case listEvents(ListEvents)
    case proposePlacement(ProposePlacement)
    case controlPlanning(ControlPlanning)
    case archiveRun(ArchiveRun)
    case deleteRun(DeleteRun)
    case backUpDatabase(BackUpDatabase)
    case joinWorld(JoinWorld)
    case openWorld(OpenWorld)

    /// The types of all requests.
    package static let types = [
        RegisterRun.type, RegisterWorker.type, Report.type, Reports.type, FinishRun.type, ListRuns.type, ShowRun.type,
        ShowPlacement.type, ListWorkers.type, PollPlan.type, PlanProgress.type, RecordCheckpoint.type,
        ListCheckpoints.type, ListPlans.type, ListIntervals.type, ListLoads.type, ShowTimings.type, ListEvents.type,
        ProposePlacement.type, ControlPlanning.type, ArchiveRun.type, DeleteRun.type, BackUpDatabase.type,
        JoinWorld.type, OpenWorld.type,
    ]

    /// Reads the fields of a message of type `type`.
    /// - Throws: `unknown_type`, or what the decoder found.
    init(type: String, from decoder: any Decoder) throws {
        switch type {
        case RegisterRun.type: self = try .registerRun(RegisterRun(from: decoder))
        case RegisterWorker.type: self = try .registerWorker(RegisterWorker(from: decoder))
        case Report.type: self = try .report(Report(from: decoder))
        case Reports.type: self = try .reports(Reports(from: decoder))
        case FinishRun.type: self = try .finishRun(FinishRun(from: decoder))
        case ListRuns.type: self = try .listRuns(ListRuns(from: decoder))
        case ShowRun.type: self = try .showRun(ShowRun(from: decoder))
        case ShowPlacement.type: self = try .showPlacement(ShowPlacement(from: decoder))
        case ListWorkers.type: self = try .listWorkers(ListWorkers(from: decoder))
        case PollPlan.type: self = try .pollPlan(PollPlan(from: decoder))
        case PlanProgress.type: self = try .planProgress(PlanProgress(from: decoder))
        case RecordCheckpoint.type: self = try .recordCheckpoint(RecordCheckpoint(from: decoder))
        case ListCheckpoints.type: self = try .listCheckpoints(ListCheckpoints(from: decoder))
        case ListPlans.type: self = try .listPlans(ListPlans(from: decoder))
        case ListIntervals.type: self = try .listIntervals(ListIntervals(from: decoder))
        case ListLoads.type: self = try .listLoads(ListLoads(from: decoder))
        case ShowTimings.type: self = try .showTimings(ShowTimings(from: decoder))
        case ListEvents.type: self = try .listEvents(ListEvents(from: decoder))
        case ProposePlacement.type: self = try .proposePlacement(ProposePlacement(from: decoder))
        case ControlPlanning.type: self = try .controlPlanning(ControlPlanning(from: decoder))
        case ArchiveRun.type: self = try .archiveRun(ArchiveRun(from: decoder))
        case DeleteRun.type: self = try .deleteRun(DeleteRun(from: decoder))
        case BackUpDatabase.type: self = try .backUpDatabase(BackUpDatabase(from: decoder))
        case JoinWorld.type: self = try .joinWorld(JoinWorld(from: decoder))
        case OpenWorld.type: self = try .openWorld(OpenWorld(from: decoder))
        default: throw ControlError(.unknownType, "no request has the type \"\(type.prefix(64))\"")
        }
    }

    /// The message itself.
    public var message: any ControlRequest {
        switch self {
        case .registerRun(let message): message
        case .registerWorker(let message): message
        case .report(let message): message
        case .reports(let message): message
        case .finishRun(let message): message
        case .listRuns(let message): message
        case .showRun(let message): message
        case .showPlacement(let message): message
        case .listWorkers(let message): message
        case .pollPlan(let message): message
        case .planProgress(let message): message
        case .listPlans(let message): message
        case .listIntervals(let message): message
        case .listLoads(let message): message
        case .showTimings(let message): message
        case .listEvents(let message): message
        case .recordCheckpoint(let message): message
        case .listCheckpoints(let message): message
        case .proposePlacement(let message): message
        case .controlPlanning(let message): message
        case .archiveRun(let message): message
        case .deleteRun(let message): message
        case .backUpDatabase(let message): message
        case .joinWorld(let message): message
        case .openWorld(let message): message
        }
    }
}
