import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation

/// Something that answers requests which change state: the state machine by itself, or a running coordinator. The same test
/// bodies run against both.
public protocol ChangePeer: Sendable {
    func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply
}

/// The state machine with a list for a database.
public actor InProcessPeer: ChangePeer {
    private var core: CoordinatorCore
    public private(set) var changes: [Change] = []

    public init(limits: Limits = .standard) {
        core = CoordinatorCore(limits: limits)
    }

    public func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply {
        let change: ChangeRequest
        switch request {
        case let request as RegisterRun: change = .registerRun(request)
        case let request as RegisterWorker: change = .registerWorker(request)
        case let request as Report: change = .report(request)
        case let request as Reports: change = .reports(request)
        case let request as FinishRun: change = .finishRun(request)
        case let request as PollPlan: change = .pollPlan(request)
        case let request as PlanProgress:
            change = .planProgress(
                request, withdrawn: core.isRevived(by: request) ? plan(request.revision, request.run) : nil)
        case let request as ControlPlanning: change = .controlPlanning(request, run: request.run ?? "")
        case let request as ArchiveRun: change = .archiveRun(request)
        case let request as ProposePlacement: change = .proposePlan(try submission(request))
        default: throw ControlError(.unknownType, "\(Request.type) changes nothing")
        }
        var reply: (any ControlMessage)?
        for action in core.handle(.requested(change, Ticket(0)), at: Timestamp(milliseconds: 0)) {
            switch action {
            case .store(let change): changes.append(change)
            case .answer(_, .refused(let error)): throw error
            case .answer(_, .runRegistered(let message)): reply = message
            case .answer(_, .workerRegistered(let message)): reply = message
            case .answer(_, .acknowledged(let message)): reply = message
            case .answer(_, .planOffer(let message)): reply = message
            case .answer(_, .placementProposed(let message)): reply = message
            case .answer(_, .planningState(let message)): reply = message
            case .answer(_, .runArchived(let message)): reply = message
            }
        }
        _ = core.handle(.committed, at: Timestamp(milliseconds: 0))
        guard let reply = reply as? Request.Reply else { throw ControlError(.protocolViolation, "no answer") }
        return reply
    }

    private func submission(_ request: ProposePlacement) throws(ControlError) -> PlanSubmission {
        let run = request.run ?? ""
        guard let state = core.state(of: run) else { throw .unknownRun(run) }
        guard let plan = request.plan ?? request.rollbackTo.flatMap({ plan($0, run)?.plan }) else {
            throw ControlError(.unknownRevision, "no such plan")
        }
        return PlanSubmission(
            run: run, plan: plan, prediction: PlanPrediction(), from: state.plan.revision, dryRun: request.dryRun,
            who: request.who, why: request.why)
    }

    /// A plan that was recorded.
    private func plan(_ revision: Int, _ run: String) -> PlanInFlight? {
        for case .addPlan(let record) in changes where record.run == run && record.plan.revision == revision {
            return PlanInFlight(plan: record.plan, origin: record.origin)
        }
        return nil
    }
}

extension ControlClient: ChangePeer {
    public func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply {
        try await send(request, timeout: .seconds(20))
    }
}
