import ControlProtocol
import CoordinatorCore
import FlyingSocks
import Foundation
import Logging

/// Who asks.
struct Client: Sendable {
    /// The connection's number.
    let id: Int
    let socket: AsyncSocket
}

/// The frame of an answer.
struct AnswerFrame {
    /// Of the request, where it could be read.
    let requestID: Int?
    let bytes: Data
    /// Whether it tells of a change, so that nothing else may be said in its place.
    let tellsOfChange: Bool
}

/// Turns the payload of a request into the frame of its answer.
struct RequestHandler: Sendable {
    let store: CoordinatorStore
    let processor: ChangeProcessor
    let planning: any PlanningService
    let backups: DatabaseBackups
    let rendezvous: Rendezvous
    let refusals: RefusalLog
    let metrics: CoordinatorMetrics
    /// However many ask, a commit waits for few of them, and few answers are made at a time.
    let reads: Turnstile
    let limits: Limits
    let logger: Logger

    /// Never fails: what is wrong is the answer.
    /// - Parameters:
    ///   - client: who asks.
    ///   - roles: of the connection.
    func answer(to payload: Data, from client: Client, roles: Set<ControlRole>) async -> AnswerFrame {
        let incoming = MessageCodec.request(payload, limits: limits)
        let bytes = await answer(to: incoming, from: client, roles: roles)
        let tellsOfChange = (try? !incoming.request.get().onlyReads) ?? false
        return AnswerFrame(requestID: incoming.requestID, bytes: bytes, tellsOfChange: tellsOfChange)
    }

    private func answer(to incoming: IncomingRequest, from client: Client, roles: Set<ControlRole>) async -> Data {
        do {
            let request = try incoming.request.get()
            metrics.received(type(of: request.message).type)
            try request.permit(roles)
            return try await answer(to: request, from: client, id: incoming.requestID)
        } catch {
            if case .failure = incoming.request { metrics.received(nil) }
            let error = refused(error)
            metrics.refused(error.code)
            if error.code == .forbidden { refusals.add(error.code, from: client.socket) }
            return Self.frame(error, id: incoming.requestID)
        }
    }

    /// The frame of a refusal.
    static func frame(_ error: ControlError, id: Int?) -> Data {
        // An error message is far below every limit, so writing it cannot fail; an empty frame says nothing wrong.
        (try? MessageCodec.frame(ErrorReply(error), requestID: id)) ?? Data(count: Frame.headerBytes)
    }

    private func answer(to request: AnyRequest, from client: Client, id: Int?) async throws -> Data {
        switch request {
        case .registerRun(let request): try await change(.registerRun(request), id: id)
        case .registerWorker(let request): try await change(.registerWorker(request), id: id)
        case .report(let request): try await report(.report(request), CollectionOfOne(request), id: id)
        case .reports(let request): try await report(.reports(request), request.each, id: id)
        case .finishRun(let request): try await change(.finishRun(request), id: id)
        case .listRuns(let request): try await read(id) { try await store.runs(request, limits: limits) }
        case .showRun(let request): try await read(id) { try await store.run(request, limits: limits) }
        case .showPlacement(let request): try await read(id) { try await store.placement(request) }
        case .listWorkers(let request): try await read(id) { try await store.workers(request, limits: limits) }
        case .pollPlan(let request): try await change(.pollPlan(request), id: id)
        case .planProgress(let request): try await change(.planProgress(request, withdrawn: nil), id: id)
        case .recordCheckpoint(let request): try await change(.recordCheckpoint(request), id: id)
        case .listCheckpoints(let request): try await read(id) { try await store.checkpoints(request, limits: limits) }
        case .listPlans(let request): try await read(id) { try await store.plans(request, limits: limits) }
        case .listIntervals(let request): try await read(id) { try await store.intervals(request, limits: limits) }
        case .listLoads(let request): try await read(id) { try await store.loads(request, limits: limits) }
        case .showTimings(let request): try await read(id) { try await store.timings(request) }
        case .listEvents(let request): try await read(id) { try await store.events(request, limits: limits) }
        case .proposePlacement(let request):
            try await frame(
                PlanProposer(store: store, processor: processor, planning: planning).answer(request), id: id)
        case .controlPlanning(let request):
            try await change(.controlPlanning(request, run: store.runName(request.run)), id: id)
        case .archiveRun(let request): try await change(.archiveRun(request), id: id)
        case .deleteRun(let request): try await delete(request, id: id)
        case .backUpDatabase(let request): try await frame(backups.answer(request), id: id)
        case .joinWorld(let request): try await frame(rendezvous.join(request, from: client), id: id)
        case .openWorld(let request): try frame(rendezvous.open(request, from: client), id: id)
        }
    }

    /// The frame of what `query` reads.
    private func read<Reply: ControlMessage>(_ id: Int?, _ query: () async throws -> Reply) async throws -> Data {
        try await reads.pass { try await frame(query(), id: id) }
    }

    private func report(_ request: ChangeRequest, _ reports: some Collection<Report>, id: Int?) async throws -> Data {
        let frame = try await change(request, id: id)
        // They are durable now. One that comes again is no news for the planner, which looks at its sequence.
        for report in reports { planning.applied(report) }
        return frame
    }

    private func delete(_ request: DeleteRun, id: Int?) async throws -> Data {
        // What the run has does not change any more, for it has ended.
        guard let holdings = try await store.holdings(of: request.run) else {
            throw ControlError.unknownRun(request.run)
        }
        if case .refused(let error) = await processor.delete(request) { throw error }
        if !request.dryRun {
            logger.notice("a run was deleted", metadata: ["run": "\(request.run)", "who": "\(request.who)"])
        }
        return try frame(holdings, id: id)
    }

    private func change(_ request: ChangeRequest, id: Int?) async throws -> Data {
        switch await processor.answer(to: request) {
        case .runRegistered(let reply): try frame(reply, id: id)
        case .workerRegistered(let reply): try frame(reply, id: id)
        case .acknowledged(let reply): MessageCodec.frame(reply, requestID: id)
        case .planOffer(let reply): try frame(reply, id: id)
        case .placementProposed(let reply): try frame(reply, id: id)
        case .planningState(let reply): try frame(reply, id: id)
        case .runArchived(let reply): try frame(reply, id: id)
        case .refused(let error): throw error
        }
    }

    private func frame(_ reply: some ControlMessage, id: Int?) throws -> Data {
        try MessageCodec.frame(reply, requestID: id, limits: limits)
    }

    private func refused(_ error: any Error) -> ControlError {
        if let error = error as? ControlError { return error }
        logger.error("the database cannot be read", metadata: ["reason": "\(StoreError.reason(error))"])
        return .storageUnavailable(error)
    }
}

extension AnyRequest {
    /// Whether it changes nothing, whatever the answer.
    fileprivate var onlyReads: Bool {
        switch self {
        case .listRuns, .showRun, .showPlacement, .listWorkers, .listCheckpoints, .listPlans, .listIntervals,
            .listLoads, .showTimings, .listEvents:
            true
        case .registerRun, .registerWorker, .report, .reports, .finishRun, .pollPlan, .planProgress, .recordCheckpoint,
            .proposePlacement, .controlPlanning, .archiveRun, .deleteRun, .backUpDatabase, .joinWorld, .openWorld:
            false
        }
    }
}
