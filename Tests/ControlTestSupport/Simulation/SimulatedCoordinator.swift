import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import TestSupport

/// A coordinator that may die between any two of: an event, the commit of its changes, the answers. Its database is a value that
/// survives; all else is gone then.
struct SimulatedCoordinator: ~Copyable {
    /// What ends a batch early.
    enum Fault: CaseIterable {
        case deathBetweenEvents, deathBeforeCommit, failedCommit, deathAfterCommit, deathBetweenReplies
    }

    struct Run {
        var model = RunModel()
        var ledger: RunLedger
    }

    typealias Message = SimulatedNetwork.Request

    private(set) var durable = [String: Run]()
    private(set) var problems = [String]()
    private(set) var faults = [Fault: Int]()
    /// Requests of an incarnation that was over.
    private(set) var staleRequests = 0
    private var core = CoordinatorCore(limits: limits)
    private var queue = [Message]()
    /// Changes that the state machine has made, but that are not committed.
    private var pending = [String: Run]()

    /// So few that runs come and go.
    private static var limits: Limits {
        var limits = Limits()
        limits.residentRuns = 1
        return limits
    }

    var isIdle: Bool { queue.isEmpty }

    mutating func receive(_ message: Message) { queue.append(message) }

    mutating func die() {
        core = CoordinatorCore(limits: Self.limits)
        queue = []
        pending = [:]
    }

    /// Takes what is queued through one transaction, and answers.
    mutating func processBatch(
        _ fault: Fault?, using random: inout SeededGenerator,
        reply: (SimulatedNetwork.Reply, inout SeededGenerator) -> Void
    ) {
        guard !queue.isEmpty else { return }
        if let fault { faults[fault, default: 0] += 1 }
        let batch = Array(queue.prefix(Int.random(in: 1...5, using: &random)))
        queue.removeFirst(batch.count)
        let end = fault == .deathBetweenEvents ? Int.random(in: 0...batch.count, using: &random) : batch.count
        var answers = batch[..<end].map { handle($0.body, using: &random) }
        switch fault {
        case .deathBetweenEvents, .deathBeforeCommit: return die()
        case .failedCommit:
            pending = [:]
            _ = core.handle(.commitFailed, at: Self.time(using: &random))
            answers = batch.map { _ in .refused(ControlError(.storageUnavailable, "the disk is full")) }
        default: commit(using: &random)
        }
        if fault == .deathAfterCommit { return die() }
        let last = fault == .deathBetweenReplies ? Int.random(in: 0...batch.count, using: &random) : batch.count
        for index in 0..<last { reply(SimulatedNetwork.Reply(request: batch[index], answer: answers[index]), &random) }
        if fault == .deathBetweenReplies { die() }
    }

    /// Clocks are set back and forth.
    private static func time(using random: inout SeededGenerator) -> Timestamp {
        Timestamp(milliseconds: Int64.random(in: 0..<1_000_000, using: &random))
    }

    private mutating func handle(_ request: ChangeRequest, using random: inout SeededGenerator) -> Answer {
        let name = request.run
        if !core.isResident(name), let model = durable[name]?.model {
            if let state = model.state {
                _ = core.handle(.restored(state), at: Self.time(using: &random))
            } else if let numbers = model.usedNumbers {
                _ = core.handle(.known(numbers, of: name), at: Self.time(using: &random))
            }
        }
        var request = request
        if case .planProgress(let progress, _) = request, core.isRevived(by: progress) {
            request = .planProgress(
                progress, withdrawn: (pending[name] ?? durable[name])?.model.plan(progress.revision))
        }
        var run = pending[name] ?? durable[name] ?? Run(ledger: RunLedger(run: name))
        let newest = run.ledger.incarnation
        var changed = false
        var answer: Answer?
        for action in core.handle(.requested(request, Ticket(0)), at: Self.time(using: &random)) {
            switch action {
            case .store(let change):
                if answer != nil { problems.append("\(change) came after the answer") }
                changed = true
                run.model.apply(change)
                run.ledger.apply(change)
            case .answer(_, let message):
                if answer != nil { problems.append("two answers to \(request)") }
                answer = message
            }
        }
        if changed { pending[name] = run }
        guard let answer else {
            problems.append("no answer to \(request)")
            return .refused(ControlError(.badRequest, "none"))
        }
        check(request, answer, changed: changed, newest: newest, run.ledger)
        return answer
    }

    private mutating func check(
        _ request: ChangeRequest, _ answer: Answer, changed: Bool, newest: Int, _ ledger: RunLedger
    ) {
        if changed, request.changesNothing { problems.append("\(request) changed something") }
        if case .refused = answer, changed { problems.append("the refusal of \(request) changed something") }
        if case .planOffer(let offer) = answer, let plan = offer.plan {
            var plans = ledger.plans
            plans.check(offered: plan)
            problems += plans.problems
        }
        if !ledger.holds(request, answer) { problems.append("\(answer) to \(request) is not true") }
        guard let incarnation = request.incarnation, newest > 0, incarnation < newest else { return }
        staleRequests += 1
        if changed { problems.append("\(request) is stale and changed something") }
        let code: ControlError.Code = ledger.isDeleted ? .unknownRun : .staleIncarnation
        guard case .refused(let error) = answer, error.code == code else {
            problems.append("\(request) is stale, but the answer is \(answer)")
            return
        }
    }

    private mutating func commit(using random: inout SeededGenerator) {
        for (name, run) in pending {
            var run = run
            run.ledger.plans.check()
            problems += run.ledger.problems
            if core.state(of: name) != run.model.state {
                problems.append("what is stored of \(name) is not what the state machine holds")
            }
            durable[name] = run
        }
        pending = [:]
        _ = core.handle(.committed, at: Self.time(using: &random))
    }
}

extension ChangeRequest {
    var incarnation: Int? {
        switch self {
        case .registerWorker(let request): request.incarnation
        case .report(let request): request.incarnation
        case .reports(let request): request.incarnation
        case .finishRun(let request): request.incarnation
        case .pollPlan(let request): request.incarnation
        case .planProgress(let request, _): request.incarnation
        case .recordCheckpoint(let request): request.incarnation
        case .recordPlanning(let record): record.incarnation
        case .registerRun, .proposePlan, .controlPlanning, .archiveRun, .deleteRun: nil
        }
    }

    fileprivate var changesNothing: Bool {
        switch self {
        case .pollPlan: true
        case .proposePlan(let submission): submission.dryRun
        case .controlPlanning(let request, _): request.dryRun
        case .archiveRun(let request): request.dryRun
        case .deleteRun(let request): request.dryRun
        default: false
        }
    }
}
