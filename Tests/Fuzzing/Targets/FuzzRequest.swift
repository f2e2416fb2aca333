import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation

/// A request that is accepted is within all limits and says the same when it is written again; the state machine answers it
/// once, at the end.
func fuzzRequest(_ bytes: [UInt8]) {
    let incoming = MessageCodec.request(Data(bytes), limits: fuzzLimits)
    guard let id = incoming.requestID, case .success(let request) = incoming.request else { return }
    precondition((0...fuzzLimits.integer).contains(id), "a request id out of range")
    do {
        try request.message.validate(within: fuzzLimits)
    } catch {
        fatalError("accepted, but not valid: \(error)")
    }
    guard let frame = try? frame(request.message, id) else { fatalError("it cannot be written") }
    let again = MessageCodec.request(frame.dropFirst(Frame.headerBytes), limits: fuzzLimits)
    guard again.requestID == id, case .success(let other) = again.request, other == request else {
        fatalError("written again, it is another request")
    }
    if let change = change(request) { apply(change) }
}

/// Small worlds and models: a plan for each input must not take long.
private let fuzzLimits: Limits = {
    var limits = Limits()
    limits.worldSize = 16
    limits.layers = 8
    limits.experts = 64
    limits.planRanks = 512
    return limits
}()

private func frame(_ message: some ControlMessage, _ id: Int) throws -> Data {
    try MessageCodec.frame(message, requestID: id, limits: fuzzLimits)
}

private func change(_ request: AnyRequest) -> ChangeRequest? {
    switch request {
    case .registerRun(let request): .registerRun(request)
    case .registerWorker(let request): .registerWorker(request)
    case .report(let request): .report(request)
    case .reports(let request): .reports(request)
    case .finishRun(let request): .finishRun(request)
    case .pollPlan(let request): .pollPlan(request)
    case .planProgress(let request): .planProgress(request, withdrawn: nil)
    case .recordCheckpoint(let request): .recordCheckpoint(request)
    case .controlPlanning(let request): .controlPlanning(request, run: request.run ?? "shakespeare")
    case .proposePlacement(let request):
        request.plan.map {
            .proposePlan(
                PlanSubmission(
                    run: request.run ?? "shakespeare", plan: $0, prediction: PlanPrediction(), from: 1,
                    dryRun: request.dryRun, who: request.who, why: request.why))
        }
    case .archiveRun(let request): .archiveRun(request)
    case .deleteRun(let request): .deleteRun(request)
    case .listRuns, .showRun, .showPlacement, .listWorkers, .listPlans, .listCheckpoints, .listIntervals, .listLoads,
        .showTimings, .listEvents, .backUpDatabase, .joinWorld, .openWorld:
        nil
    }
}

/// To a coordinator with a run of two ranks, and a plan in flight.
private func apply(_ request: ChangeRequest) {
    var core = CoordinatorCore(limits: fuzzLimits)
    let time = Timestamp(milliseconds: 0)
    for known in knownRequests { _ = core.handle(.requested(known, Ticket(0)), at: time) }
    for ticket in 1...2 {
        let actions = core.handle(.requested(request, Ticket(ticket)), at: time)
        guard case .answer(Ticket(ticket), let answer)? = actions.last else { fatalError("no answer at the end") }
        for case .answer in actions.dropLast() { fatalError("two answers") }
        if case .refused = answer { precondition(actions.count == 1, "a refusal changed something") }
    }
    _ = core.handle(.committed, at: time)
}

private let knownRequests: [ChangeRequest] = {
    let run = "shakespeare"
    let model = ExpertModel(hiddenSize: 8, layers: [[16, 16, 16], [16, 16, 16]])
    let registration = RegisterRun(
        run: run, registration: "a1", worldSize: 2, nodes: [0, 0], model: model, allocator: "expert-parallel",
        host: "node-1", processID: 1)
    var other = registration
    other.allocator = "replicated"
    var core = CoordinatorCore()
    var requests = [ChangeRequest.registerRun(registration)]
    if case .answer(_, .runRegistered(let reply))? = core.handle(
        .requested(.registerRun(other), Ticket(0)), at: Timestamp(milliseconds: 0)
    ).last {
        requests.append(
            .proposePlan(
                PlanSubmission(
                    run: run, plan: reply.plan, prediction: PlanPrediction(), from: 1, dryRun: false, who: "a", why: "b"
                )
            ))
    }
    return requests + [.registerWorker(RegisterWorker(run: run, incarnation: 1, rank: 0, host: "node-1", processID: 1))]
}()
