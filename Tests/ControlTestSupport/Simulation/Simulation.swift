import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import TestSupport

/// Workers and operators of several runs, a network that duplicates, delays, reorders, loses and replays, and a coordinator that
/// dies at any point; all of it follows from the seed. What the coordinator promises is checked at each step.
public struct Simulation: ~Copyable {
    private enum Client {
        case rankZero(job: Int)
        case reporter(job: Int, rank: Int)
        case `operator`(run: String)
        case planner(run: String)
    }

    private static let runs = ["a", "b"]

    public private(set) var acknowledgements = 0
    private var found = [String]()
    private var random: SeededGenerator
    private var network = SimulatedNetwork()
    private var coordinator = SimulatedCoordinator()
    private var jobs = [Job]()
    private var clients = [Client]()
    /// Rank 0 of the newest start of each run.
    private var newestRankZeros = [Int]()
    private var operators = [String: Int]()
    /// What each client waits for.
    private var open = [Int: SimulatedNetwork.Request]()
    private var requestCount = 0
    /// What was answered to requests that have an identity.
    private var answers = [RequestIdentity: Answer]()
    /// Answers that reached somebody.
    private var replies = [SimulatedNetwork.Reply]()

    public init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        for run in Self.runs {
            start(run)
            operators[run] = clients.count
            clients += [.operator(run: run), .planner(run: run)]
        }
    }

    public var staleRequests: Int { coordinator.staleRequests }
    /// How often runs were deleted.
    public var deletions: Int { coordinator.durable.values.reduce(0) { $0 + $1.ledger.deletions } }
    /// How many of them were started again.
    public var revivals: Int { coordinator.durable.values.count { $0.ledger.deletions > 0 && !$0.ledger.isDeleted } }
    public var faults: [String: Int] {
        [String: Int](uniqueKeysWithValues: coordinator.faults.map { ("\($0.key)", $0.value) })
    }
    public static var allFaults: Set<String> { Set(SimulatedCoordinator.Fault.allCases.map { "\($0)" }) }
    /// How often plans went along each arrow.
    public var arrows: [PlanLedger.Arrow: Int] {
        coordinator.durable.values.reduce(into: [:]) { $0.merge($1.ledger.plans.arrows) { $0 + $1 } }
    }

    /// - Returns: what was wrong.
    public mutating func play(events: Int) -> [String] {
        for _ in 0..<events where problems.isEmpty { happen() }
        if problems.isEmpty { settle() }
        return problems
    }

    private var problems: [String] { found + coordinator.problems }

    private mutating func happen() {
        switch Int.random(in: 0..<200, using: &random) {
        case 0..<40: act(Int.random(in: 0..<clients.count, using: &random))
        case 40..<80: act(busyClient())
        case 80..<128: deliverRequest()
        case 128..<160: work(Int.random(in: 0..<6, using: &random) == 0 ? .allCases.randomElement(using: &random) : nil)
        case 160..<191: deliverReply()
        case 191..<197: network.replay(using: &random)
        case 197: if let run = Self.runs.randomElement(using: &random) { start(run) }
        default: coordinator.die()
        }
    }

    /// Rank 0 of a newest start, or whoever puts the run away when it has ended. Otherwise plans would not get far: there are many
    /// clients, and each plan needs several messages of rank 0.
    private mutating func busyClient() -> Int {
        let rankZero = newestRankZeros.randomElement(using: &random) ?? 0
        guard case .rankZero(let job) = clients[rankZero], coordinator.durable[jobs[job].run]?.ledger.hasEnded == true,
            Bool.random(using: &random)
        else { return rankZero }
        return operators[jobs[job].run] ?? rankZero
    }

    /// Another start of a run; those before it do not know yet that they are over.
    private mutating func start(_ run: String) {
        let worldSize = Int.random(in: 0..<6, using: &random) == 0 ? 3 : 2
        let registration = Samples.registerRun(run, registration: "start \(jobs.count)", worldSize: worldSize)
        jobs.append(Job(registration, isShort: Int.random(in: 0..<3, using: &random) == 0))
        newestRankZeros.removeAll { if case .rankZero(let job) = clients[$0] { jobs[job].run == run } else { false } }
        newestRankZeros.append(clients.count)
        clients.append(.rankZero(job: jobs.count - 1))
        clients += (0..<worldSize).map { .reporter(job: jobs.count - 1, rank: $0) }
    }

    /// A client asks something, or asks again for what was not answered.
    private mutating func act(_ client: Int) {
        if let request = open[client] { return network.send(request, using: &random) }
        let body: ChangeRequest? =
            switch clients[client] {
            case .rankZero(let job): jobs[job].nextOfRankZero(using: &random)
            case .reporter(let job, let rank): jobs[job].nextReport(rank: rank, using: &random)
            case .operator(let run): operatorsRequest(run)
            case .planner(let run): planningRecord(run)
            }
        guard let body else { return }
        requestCount += 1
        let request = SimulatedNetwork.Request(client: client, number: requestCount, body: body)
        open[client] = request
        network.send(request, using: &random)
    }

    private mutating func deliverRequest() {
        if let request = network.nextRequest(using: &random) { coordinator.receive(request) }
    }

    private mutating func work(_ fault: SimulatedCoordinator.Fault?) {
        var sent = [SimulatedNetwork.Reply]()
        coordinator.processBatch(fault, using: &random) { reply, _ in sent.append(reply) }
        for reply in sent { network.send(reply, using: &random) }
    }

    private mutating func deliverReply() {
        guard let reply = network.nextReply(using: &random) else { return }
        check(reply)
        let request = reply.request
        guard open[request.client]?.number == request.number else { return }
        var isSettled = true
        switch clients[request.client] {
        case .rankZero(let job), .reporter(let job, _):
            let ledger = coordinator.durable[jobs[job].run]?.ledger
            isSettled = jobs[job].receive(reply.answer, to: request.body, ledger, &found)
        case .operator, .planner: break
        }
        if isSettled { open[request.client] = nil }
    }

    /// An answer has come: it is durable, and the one that was given before.
    private mutating func check(_ reply: SimulatedNetwork.Reply) {
        let request = reply.request.body
        let ledger = coordinator.durable[request.run]?.ledger
        if case .refused(let error) = reply.answer {
            guard let identity = RequestIdentity(request), let before = answers[identity] else { return }
            let mayForget: [ControlError.Code] = [.staleIncarnation, .staleSequence, .storageUnavailable]
            let isDeleted = request.incarnation.map { ledger?.isDeleted($0) == true } == true
            if !mayForget.contains(error.code), !(isDeleted && error.code == .unknownRun) {
                found.append("\(request) was answered \(before), and then refused: \(error)")
            }
            return
        }
        acknowledgements += 1
        replies.append(reply)
        if ledger?.holds(request, reply.answer) != true {
            found.append("\(reply.answer) to \(request) is not durable")
        }
        guard let identity = RequestIdentity(request) else { return }
        if let before = answers[identity], !before.isSame(as: reply.answer, ledger) {
            found.append("\(request) was answered \(before), and then \(reply.answer)")
        }
        answers[identity] = reply.answer
    }

    /// The faults end. All that is open is answered, and everyone agrees.
    private mutating func settle() {
        network.isFaulty = false
        for _ in 0..<60 where problems.isEmpty {
            for client in clients.indices where open[client] != nil || hasNews(client) { act(client) }
            while !network.isEmpty || !coordinator.isIdle {
                deliverRequest()
                work(nil)
                deliverReply()
            }
            if open.isEmpty, jobs.allSatisfy({ !$0.hasNews }) { break }
        }
        for (client, request) in open { found.append("client \(client) was never answered: \(request.body)") }
        for reply in replies
        where coordinator.durable[reply.request.body.run]?.ledger.holds(
            reply.request.body, reply.answer) != true
        {
            found.append("\(reply.answer) to \(reply.request.body) is gone")
        }
        for job in jobs where !job.isOver {
            guard let ranks = job.ranks, var plans = coordinator.durable[job.run]?.ledger.plans,
                coordinator.durable[job.run]?.ledger.incarnation == ranks.incarnation, !plans.isDeleted
            else { continue }
            plans.compare(with: ranks)
            found += plans.problems
        }
    }

    private func hasNews(_ client: Int) -> Bool {
        if case .rankZero(let job) = clients[client] { jobs[job].hasNews } else { false }
    }

    // MARK: What operators and the planner ask

    private mutating func randomPlan(_ run: String) -> PlacementPlan? {
        let worldSize = coordinator.durable[run]?.model.state?.plan.worldSize ?? 2
        let choice = Int.random(in: 0...2, using: &random)
        return choice == 2
            ? try? Samples.replicatedPlan(worldSize: worldSize)
            : try? Samples.shiftedPlan(by: choice, worldSize: worldSize)
    }

    private mutating func operatorsRequest(_ run: String) -> ChangeRequest? {
        guard let plan = randomPlan(run), let ledger = coordinator.durable[run]?.ledger else { return nil }
        // Its name is free again.
        if ledger.isDeleted {
            start(run)
            return nil
        }
        let isDry = Int.random(in: 0..<4, using: &random) == 0
        if Int.random(in: 0..<(ledger.hasEnded ? 2 : 20), using: &random) == 0 {
            return .deleteRun(DeleteRun(run: run, dryRun: isDry, who: "ada", why: "test"))
        }
        if Int.random(in: 0..<10, using: &random) == 0 {
            return .archiveRun(ArchiveRun(run: run, dryRun: isDry, who: "ada", why: "test"))
        }
        if Bool.random(using: &random) {
            return .proposePlan(
                PlanSubmission(
                    run: run, plan: plan, prediction: Samples.prediction, from: ledger.plans.active ?? 1, dryRun: isDry,
                    who: "ada", why: "test"))
        }
        let expert = ExpertID(
            layer: Int.random(in: 0...1, using: &random), expert: Int.random(in: 0...2, using: &random))
        let isPinning = Int.random(in: 0..<3, using: &random) == 0
        return .controlPlanning(
            ControlPlanning(
                run: run, freeze: Int.random(in: 0..<2, using: &random) == 0 ? ledger.settings.frozen == false : nil,
                pin: isPinning ? [expert] : [], unpin: isPinning ? [] : [expert], dryRun: isDry, who: "ada", why: "test"
            ),
            run: run)
    }

    private mutating func planningRecord(_ run: String) -> ChangeRequest? {
        guard let plan = randomPlan(run), let ledger = coordinator.durable[run]?.ledger else { return nil }
        let active = ledger.plans.active ?? 1
        let outcome: PlanningRecord.Outcome =
            switch Int.random(in: 0..<8, using: &random) {
            case 0..<5:
                .proposed(PlanProposal(plan: plan, prediction: Samples.prediction, why: "faster"), from: active)
            case 5: .withdrawn(revision: ledger.plans.inFlight ?? 1, why: "stale")
            case 6: .observed(revision: active, Samples.observation)
            default: .failed(why: "no plan")
            }
        return .recordPlanning(
            PlanningRecord(run: run, incarnation: ledger.incarnation, who: "allocator", outcome: outcome))
    }
}

/// What makes two requests the same one.
private enum RequestIdentity: Hashable {
    case start(run: String, registration: String)
    case worker(RegisterWorker)
    case report(run: String, RunLedger.ReportKey)
    case reports(Reports)
    case progress(PlanProgress)
    case checkpoint(RecordCheckpoint)
    case end(run: String, incarnation: Int)

    init?(_ request: ChangeRequest) {
        switch request {
        case .registerRun(let request): self = .start(run: request.run, registration: request.registration)
        case .registerWorker(let request): self = .worker(request)
        case .report(let report):
            self = .report(
                run: report.run,
                RunLedger.ReportKey(incarnation: report.incarnation, rank: report.rank, sequence: report.sequence))
        case .reports(let reports): self = .reports(reports)
        case .planProgress(let progress, _): self = .progress(progress)
        case .recordCheckpoint(let request): self = .checkpoint(request)
        case .finishRun(let request): self = .end(run: request.run, incarnation: request.incarnation)
        case .pollPlan, .proposePlan, .controlPlanning, .recordPlanning, .archiveRun, .deleteRun: return nil
        }
    }
}

extension Answer {
    /// A start is told the plan that is active by now, and is another one after its run was deleted; all else is said again as
    /// it was.
    fileprivate func isSame(as other: Answer, _ ledger: RunLedger?) -> Bool {
        if case .runRegistered(let own) = self, case .runRegistered(let others) = other {
            return own.incarnation == others.incarnation
                || ledger?.isDeleted(min(own.incarnation, others.incarnation)) == true
        }
        return self == other
    }
}
