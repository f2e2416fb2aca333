import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import TestSupport

/// One start of a run: rank 0, which speaks for all ranks, and each rank's reports.
struct Job {
    let registration: RegisterRun
    /// Whether it ends as soon as it has begun; its ranks take their time to notice.
    let isShort: Bool
    /// Nil until the coordinator answered.
    private(set) var ranks: SimulatedRanks?
    private(set) var isOver = false
    private var registeredWorkers = 0
    private var sequences: [Int]
    private var checkpoints = 0
    private var hasFinished = false

    init(_ registration: RegisterRun, isShort: Bool) {
        self.registration = registration
        self.isShort = isShort
        sequences = [Int](repeating: 0, count: registration.worldSize)
    }

    var run: String { registration.run }
    private var incarnation: Int { ranks?.incarnation ?? 0 }
    /// Whether the ranks have something to tell.
    var hasNews: Bool { !isOver && ranks?.messages.isEmpty == false }

    /// What rank 0 asks or tells next.
    mutating func nextOfRankZero(using random: inout SeededGenerator) -> ChangeRequest? {
        guard !isOver else { return nil }
        guard ranks != nil else { return .registerRun(registration) }
        if isShort, !hasFinished { return finish() }
        if registeredWorkers < registration.worldSize {
            return .registerWorker(Samples.registerWorker(run, incarnation: incarnation, rank: registeredWorkers))
        }
        work(using: &random)
        if let message = ranks?.messages.first { return .planProgress(message, withdrawn: nil) }
        if !hasFinished, Int.random(in: 0..<40, using: &random) == 0 { return finish() }
        if Int.random(in: 0..<10, using: &random) == 0 {
            checkpoints += 1
            return .recordCheckpoint(
                RecordCheckpoint(
                    run: run, incarnation: incarnation, step: checkpoints, path: "step-\(checkpoints)", bytes: 1,
                    seconds: 1))
        }
        return .pollPlan(PollPlan(run: run, incarnation: incarnation, revision: ranks?.revision ?? 0))
    }

    private mutating func finish() -> ChangeRequest {
        hasFinished = true
        return .finishRun(Samples.finishRun(run, incarnation: incarnation))
    }

    /// Training goes on, whatever the coordinator does.
    private mutating func work(using random: inout SeededGenerator) {
        switch Int.random(in: 0..<4, using: &random) {
        case 0, 1: ranks?.takePlan(refuses: Int.random(in: 0..<5, using: &random) == 0)
        default: ranks?.advance(layers: Int.random(in: 1...2, using: &random))
        }
    }

    mutating func nextReport(rank: Int, using random: inout SeededGenerator) -> ChangeRequest? {
        guard !isOver, registeredWorkers > rank else { return nil }
        // A report that was shed leaves a gap.
        sequences[rank] += Int.random(in: 0..<20, using: &random) == 0 ? 70 : 1
        let sample = Samples.sample(loads: rank == 0 ? [[1, 2, 3], [4, 5, 6]] : nil)
        let first = sequences[rank]
        guard Int.random(in: 0..<4, using: &random) == 0 else {
            return .report(
                Samples.report(run, incarnation: incarnation, rank: rank, sequence: first, sample: sample))
        }
        sequences[rank] += Int.random(in: 0..<5, using: &random)
        return .reports(
            Reports(
                run: run, incarnation: incarnation, rank: rank,
                reports: (first...sequences[rank]).map { Reports.Item(sequence: $0, sample: sample) }))
    }

    /// The answer to what was asked last.
    /// - Parameter ledger: what became durable of the run; nil: nothing.
    /// - Returns: whether the request is settled; false: it has to be sent again.
    mutating func receive(
        _ answer: Answer, to request: ChangeRequest, _ ledger: RunLedger?, _ problems: inout [String]
    ) -> Bool {
        if case .refused(let error) = answer {
            let isDeleted = ranks != nil && ledger?.isDeleted(incarnation) == true
            if error.code == .staleIncarnation || error.code == .unknownRun && isDeleted { isOver = true }
            if !error.isTransient, !isOver {
                problems.append("\(request) of the newest start was refused: \(error)")
            }
            return !error.isTransient
        }
        switch (request, answer) {
        case (.registerRun, .runRegistered(let reply)):
            ranks = SimulatedRanks(run: run, incarnation: reply.incarnation, revision: reply.plan.revision)
        case (.registerWorker, _): registeredWorkers += 1
        case (.planProgress, _): ranks?.messages.removeFirst()
        case (.pollPlan, .planOffer(let offer)): ranks?.offer(offer.plan)
        default: break
        }
        return true
    }
}
