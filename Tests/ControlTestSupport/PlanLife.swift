import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import TestSupport

/// Where a state machine's changes go.
public protocol PlanLifeDatabase {
    /// - Parameter state: what the state machine holds of the run now.
    mutating func commit(_ changes: [Change], state: RunState?) async throws
    func state(of run: String) async throws -> RunState?
}

/// Random schedules of what can happen to the plans of a run: planner, operators, ranks, starts of the job; transactions that
/// fail, coordinators that die before and after a commit, answers that are lost, messages that come again and late. What must
/// hold is checked after each event.
public struct PlanLife<Database: PlanLifeDatabase>: ~Copyable {
    public static var run: String { "life" }

    public private(set) var ledger = PlanLedger()
    private var database: Database
    private var core = CoordinatorCore()
    private var random: SeededGenerator
    private var ranks: SimulatedRanks?
    private var registrations = 0
    private var worldSize = 2
    private var sent = [ChangeRequest]()
    private var hasFaults = true

    public init(_ database: Database, seed: UInt64) {
        self.database = database
        random = SeededGenerator(seed: seed)
    }

    /// - Returns: what was wrong.
    public mutating func play(events: Int) async throws -> [String] {
        try await start()
        for _ in 0..<events where ledger.problems.isEmpty { try await happen() }
        hasFaults = false
        while ranks?.messages.isEmpty == false, ledger.problems.isEmpty { try await deliver() }
        if let ranks { ledger.compare(with: ranks) }
        return ledger.problems
    }

    private mutating func happen() async throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: try await poll()
        case 20..<35: ranks?.takePlan(refuses: Int.random(in: 0..<5, using: &random) == 0)
        case 35..<50: ranks?.advance(layers: Int.random(in: 1...2, using: &random))
        case 50..<65: try await deliver()
        case 65..<73: try await repeatSomething()
        case 73..<82: try await propose()
        case 82..<88: try await plan()
        case 88..<94: try await control()
        case 94..<97: try await start()
        case 97:
            _ = try await send(
                .finishRun(
                    FinishRun(
                        run: Self.run, incarnation: ranks?.incarnation ?? 1, outcome: .completed, step: 9)))
        default: core = CoordinatorCore()
        }
    }

    private mutating func poll() async throws {
        guard let ranks else { return }
        let request = PollPlan(run: Self.run, incarnation: ranks.incarnation, revision: ranks.revision)
        guard case .planOffer(let offer)? = try await send(.pollPlan(request)) else { return }
        if let plan = offer.plan { ledger.check(offered: plan) }
        self.ranks?.offer(offer.plan)
    }

    /// The oldest message of the ranks; it stays until it is acknowledged.
    private mutating func deliver() async throws {
        guard let message = ranks?.messages.first else { return }
        switch try await send(.planProgress(message, withdrawn: nil)) {
        case .acknowledged?: ranks?.messages.removeFirst()
        case .refused(let error)?: ledger.problems.append("the ranks' \(message) was refused: \(error)")
        default: break
        }
    }

    private mutating func repeatSomething() async throws {
        guard let request = sent.randomElement(using: &random) else { return }
        _ = try await send(request, isNew: false)
    }

    private mutating func randomPlan() throws -> PlacementPlan {
        let choice = Int.random(in: 0...2, using: &random)
        return choice == 2
            ? try Samples.replicatedPlan(worldSize: worldSize)
            : try Samples.shiftedPlan(by: choice, worldSize: worldSize)
    }

    private mutating func propose() async throws {
        let isDry = Int.random(in: 0..<4, using: &random) == 0
        let submission = PlanSubmission(
            run: Self.run, plan: try randomPlan(), prediction: Samples.prediction, from: ledger.active ?? 1,
            dryRun: isDry, who: "ada", why: "test")
        let before = ledger
        _ = try await send(.proposePlan(submission))
        if isDry, ledger != before { ledger.problems.append("a dry run changed something") }
    }

    private mutating func plan() async throws {
        let outcome: PlanningRecord.Outcome =
            switch Int.random(in: 0..<8, using: &random) {
            case 0..<4:
                .proposed(
                    PlanProposal(plan: try randomPlan(), prediction: Samples.prediction, why: "faster"),
                    from: ledger.active ?? 1)
            case 4..<6: .withdrawn(revision: ledger.inFlight ?? 1, why: "stale")
            case 6: .observed(revision: ledger.active ?? 1, Samples.observation)
            default: .failed(why: "no plan")
            }
        _ = try await send(
            .recordPlanning(
                PlanningRecord(
                    run: Self.run, incarnation: ranks?.incarnation ?? 1, who: "allocator", outcome: outcome)))
    }

    private mutating func control() async throws {
        let expert = ExpertID(
            layer: Int.random(in: 0...1, using: &random), expert: Int.random(in: 0...2, using: &random))
        let isPinning = Bool.random(using: &random)
        let request = ControlPlanning(
            freeze: Int.random(in: 0..<3, using: &random) == 0 ? Bool.random(using: &random) : nil,
            pin: isPinning ? [expert] : [], unpin: isPinning ? [] : [expert],
            dryRun: Int.random(in: 0..<4, using: &random) == 0, who: "ada", why: "test")
        let before = ledger
        _ = try await send(.controlPlanning(request, run: Self.run))
        if request.dryRun, ledger != before { ledger.problems.append("a dry run changed something") }
    }

    /// The job starts, and asks until it is answered.
    private mutating func start() async throws {
        registrations += 1
        worldSize = Int.random(in: 0..<6, using: &random) == 0 ? 3 : 2
        let request = Samples.registerRun(Self.run, registration: "\(registrations)", worldSize: worldSize)
        while true {
            let answer = try await send(.registerRun(request))
            if case .refused(let error)? = answer {
                ledger.problems.append("a start was refused: \(error)")
                return
            }
            guard case .runRegistered(let reply)? = answer else { continue }
            if reply.plan.revision != ledger.active { ledger.problems.append("a start without the active plan") }
            ranks = SimulatedRanks(run: Self.run, incarnation: reply.incarnation, revision: reply.plan.revision)
            return
        }
    }

    /// - Returns: the answer; nil when none came.
    private mutating func send(_ request: ChangeRequest, isNew: Bool = true) async throws -> Answer? {
        if isNew { sent.append(request) }
        if !core.isResident(Self.run), let state = try await database.state(of: Self.run) {
            _ = core.handle(.restored(state), at: Timestamp(milliseconds: 0))
        }
        var request = request
        if case .planProgress(let progress, _) = request, core.isRevived(by: progress) {
            request = .planProgress(progress, withdrawn: ledger.plan(progress.revision))
        }
        var changes = [Change]()
        var answer: Answer?
        for action in core.handle(.requested(request, Ticket(0)), at: Timestamp(milliseconds: 0)) {
            switch action {
            case .store(let change): changes.append(change)
            case .answer(_, let message): answer = message
            }
        }
        if case .refused? = answer, !changes.isEmpty { ledger.problems.append("a refusal changed something") }
        let fate = hasFaults ? Int.random(in: 0..<12, using: &random) : 11
        switch fate {
        case 0:
            _ = core.handle(.commitFailed, at: Timestamp(milliseconds: 0))
            return nil
        case 1:
            // The coordinator dies before the commit; with the next case it dies after it.
            core = CoordinatorCore()
            return nil
        default:
            try await database.commit(changes, state: core.state(of: Self.run))
            for change in changes { ledger.apply(change) }
            ledger.check()
            _ = core.handle(.committed, at: Timestamp(milliseconds: 0))
            if fate == 2 { core = CoordinatorCore() }
            return fate == 2 || fate == 3 ? nil : answer
        }
    }
}
