import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import ExpertPlacement
import Testing

/// Random requests, repeated, reordered, from old and new incarnations, with lost transactions in between, against a
/// database that checks what must hold.
struct RandomScheduleTests {
    @Test func promisesHoldInEverySchedule() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for schedule in 0..<200 {
            var limits = Limits()
            limits.residentRuns = 2
            var core = CoordinatorCore(limits: limits)
            var ledger = Ledger()
            var sent = [ChangeRequest]()
            for _ in 0..<120 {
                var changes = [Change]()
                var answered = [(ChangeRequest, Answer)]()
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let request: ChangeRequest
                    if !sent.isEmpty, Int.random(in: 0..<3, using: &random) == 0 {
                        request = sent[Int.random(in: 0..<sent.count, using: &random)]
                    } else {
                        request = makeRequest(using: &random)
                        sent.append(request)
                    }
                    if !core.isResident(request.run), let state = ledger.states[request.run] {
                        _ = core.handle(.restored(state), at: Timestamp(milliseconds: 0))
                    }
                    for action in core.handle(.requested(request, Ticket(0)), at: Timestamp(milliseconds: 0)) {
                        switch action {
                        case .store(let change): changes.append(change)
                        case .answer(_, let answer): answered.append((request, answer))
                        }
                    }
                }
                if Int.random(in: 0..<8, using: &random) == 0 {
                    _ = core.handle(.commitFailed, at: Timestamp(milliseconds: 0))
                    continue
                }
                for change in changes { ledger.apply(change) }
                for (request, _) in answered { ledger.states[request.run] = core.state(of: request.run) }
                _ = core.handle(.committed, at: Timestamp(milliseconds: 0))
                for (request, answer) in answered { ledger.check(request, answer) }
            }
            let problems = ledger.problems
            #expect(problems.isEmpty, "seed \(seed), schedule \(schedule): \(problems)")
        }
    }

    private func makeRequest(using random: inout SeededGenerator) -> ChangeRequest {
        let run = ["a", "b", "c"][Int.random(in: 0..<3, using: &random)]
        let incarnation = Int.random(in: 1...4, using: &random)
        let rank = Int.random(in: 0...2, using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            return .registerRun(
                Samples.registerRun(
                    run, registration: String(Int.random(in: 0..<6, using: &random)),
                    worldSize: Int.random(in: 1...3, using: &random)))
        case 1, 2: return .registerWorker(Samples.registerWorker(run, incarnation: incarnation, rank: rank))
        case 3: return .finishRun(Samples.finishRun(run, incarnation: incarnation))
        default:
            return .report(
                Samples.report(
                    run, incarnation: incarnation, rank: rank, sequence: Int.random(in: 1...100, using: &random),
                    sample: Samples.sample()))
        }
    }
}

/// A database that remembers everything, and what was wrong.
private struct Ledger {
    struct ReportKey: Hashable { let run: String, incarnation: Int, rank: Int, sequence: Int }

    var states: [String: RunState] = [:]
    var problems: [String] = []
    private var incarnations: [String: Int] = [:]
    private var plans: [String: [Int: PlanState]] = [:]
    private var reports = Set<ReportKey>()

    mutating func apply(_ change: Change) {
        func require(_ isMet: Bool, _ problem: String) { if !isMet { problems.append(problem) } }
        switch change {
        case .addIncarnation(let request, let number, _):
            require(number == incarnations[request.run, default: 0] + 1, "incarnation \(number) of \(request.run)")
            incarnations[request.run] = number
        case .addPlan(let record):
            let known = plans[record.run, default: [:]]
            require(record.plan.revision == (known.keys.max() ?? 0) + 1, "revision \(record.plan.revision)")
            require(!known.values.contains(.active), "two active plans of \(record.run)")
            plans[record.run, default: [:]][record.plan.revision] = record.state
        case .setPlanState(let run, let revision, let state, _, _):
            require(plans[run]?[revision] == .active && state == .superseded, "revision \(revision) became \(state)")
            plans[run]?[revision] = state
        case .addReport(let report, _, _, _):
            let key = ReportKey(
                run: report.run, incarnation: report.incarnation, rank: report.rank, sequence: report.sequence)
            require(reports.insert(key).inserted, "\(key) was applied twice")
            require(report.incarnation == incarnations[report.run], "\(key) is of another incarnation")
        case .putRun, .putWorker, .dropReports, .endIncarnation, .addEvent, .setPlanProgress, .setPlanObservation,
            .setPlanning, .raiseRevision, .archiveRun, .deleteRun:
            break
        }
    }

    /// An acknowledgement must be true.
    mutating func check(_ request: ChangeRequest, _ answer: Answer) {
        switch (request, answer) {
        case (.report(let report), .acknowledged):
            let key = ReportKey(
                run: report.run, incarnation: report.incarnation, rank: report.rank, sequence: report.sequence)
            if !reports.contains(key) { problems.append("\(key) was acknowledged, but not applied") }
        case (.registerRun(let request), .runRegistered(let reply)):
            let active = plans[request.run, default: [:]].filter { $0.value == .active }.map(\.key)
            if active.count != 1 { problems.append("active plans of \(request.run): \(active)") }
            if reply.incarnation > incarnations[request.run, default: 0] { problems.append("incarnation not recorded") }
        default: break
        }
    }
}
