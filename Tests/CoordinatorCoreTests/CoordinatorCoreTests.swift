import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import ExpertPlacement
import TestSupport
import Testing

struct CoordinatorCoreTests {
    private let noon = Timestamp(milliseconds: 43_200_000)

    @Test func everyChangeOfAPlanLeavesAnEvent() {
        var core = CoordinatorCore()
        _ = core.handle(.requested(.registerRun(Samples.registerRun()), Ticket(1)), at: noon)
        let actions = core.handle(
            .requested(.registerRun(Samples.registerRun(registration: "b", worldSize: 3)), Ticket(2)), at: noon)
        let changes = actions.changes
        let events = changes.compactMap { if case .addEvent(_, let event) = $0 { event } else { nil } }
        #expect(events.map(\.kind) == [.runRegistered, .planSuperseded, .planActivated])
        #expect(events.map(\.revision) == [nil, 1, 2])
        #expect(events.allSatisfy { $0.at == noon && $0.who == "rank 0 on node-1, process 4711" })
        #expect(events.last?.why == "the world size went from 2 to 3; placed by allocator expert-parallel")
        // The old plan steps back before the new one is there: never two active ones.
        let states = changes.compactMap { change -> String? in
            switch change {
            case .setPlanState(_, let revision, let state, _, _): "\(revision) \(state)"
            case .addPlan(let record): "\(record.plan.revision) \(record.state)"
            default: nil
            }
        }
        #expect(states == ["1 superseded", "2 active"])
        guard case .answer(Ticket(2), .runRegistered) = actions.last else {
            Issue.record("no answer at the end, but \(String(describing: actions.last))")
            return
        }
    }

    @Test func repeatedRequestsChangeNothing() {
        var core = CoordinatorCore()
        let requests: [ChangeRequest] = [
            .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker()), .report(Samples.report()),
            .finishRun(Samples.finishRun()),
        ]
        for request in requests {
            let first = core.handle(.requested(request, Ticket(1)), at: noon)
            #expect(!first.changes.isEmpty)
            let again = core.handle(.requested(request, Ticket(2)), at: noon)
            #expect(again.count == 1)
            #expect(again.changes.isEmpty)
        }
    }

    /// Reports in frames of their own, in frames together, and both again come to the same.
    @Test func howReportsAreFramedMakesNoDifference() {
        var random = SeededGenerator(seed: TestRuns.seed())
        for _ in 0..<200 {
            var single = CoordinatorCore()
            var together = CoordinatorCore()
            for request in [
                .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker(rank: 1)),
            ] as [ChangeRequest] {
                _ = single.handle(.requested(request, Ticket(0)), at: noon)
                _ = together.handle(.requested(request, Ticket(0)), at: noon)
            }
            var last = 0
            for _ in 0..<20 {
                let first = Int.random(in: max(1, last - 20)...last + 3, using: &random)
                let batch = Samples.reports(first...first + Int.random(in: 0..<30, using: &random))
                last = max(last, batch.reports.last?.sequence ?? 0)
                let alone = batch.each.flatMap {
                    single.handle(.requested(.report($0), Ticket(0)), at: noon).changes
                }
                #expect(together.handle(.requested(.reports(batch), Ticket(0)), at: noon).changes == alone)
            }
            #expect(single.state(of: "shakespeare") == together.state(of: "shakespeare"))
            #expect(single.state(of: "shakespeare")?.reportCount ?? 0 > 0)
        }
    }

    /// The planner finds the same plan best again, until another one is active; operators may insist on it.
    @Test func whatRanksRejectedThePlannerDoesNotProposeAgain() throws {
        let plans = try (0...1).map { try Samples.shiftedPlan(by: $0) }
        var core = CoordinatorCore()
        _ = ask(&core, .registerRun(Samples.registerRun(plan: try Samples.replicatedPlan())))
        #expect(ask(&core, planning(.proposed(proposal(plans[1]), from: 1))) == [2])
        _ = ask(&core, progress(.rejected, 2))
        #expect(ask(&core, planning(.proposed(proposal(plans[1]), from: 1))) == [])
        #expect(ask(&core, planning(.proposed(proposal(plans[0]), from: 1))) == [3])
        _ = ask(&core, planning(.withdrawn(revision: 3, why: "stale")))
        #expect(ask(&core, planning(.proposed(proposal(plans[1]), from: 1))) == [])
        let submission = PlanSubmission(
            run: "shakespeare", plan: plans[1], prediction: Samples.prediction, from: 1, dryRun: false, who: "ada",
            why: "test")
        #expect(ask(&core, .proposePlan(submission)) == [4])
        _ = ask(&core, progress(.rejected, 4))
        #expect(ask(&core, planning(.proposed(proposal(plans[0]), from: 1))) == [5])
        for transition in [PlanProgress.Transition.accepted, .applied] { _ = ask(&core, progress(transition, 5)) }
        // It is another step from there.
        #expect(ask(&core, planning(.proposed(proposal(plans[1]), from: 5))) == [6])
    }

    /// However it alternates between them; those that are long past may come again.
    @Test func thePlannerProposesNoneOfTheLastRejectedPlans() throws {
        let most = RunState.mostRejectedPlans
        let model = ExpertModel(hiddenSize: 8, layers: [[8]])
        let plans = try (0...most).map { try Samples.shiftedPlan(by: $0, worldSize: most + 2, model: model) }
        let first = try Samples.shiftedPlan(by: most + 1, worldSize: most + 2, model: model)
        var core = CoordinatorCore()
        _ = ask(&core, .registerRun(Samples.registerRun(worldSize: most + 2, model: model, plan: first)))
        for (index, plan) in plans.enumerated() {
            #expect(ask(&core, planning(.proposed(proposal(plan), from: 1))) == [2 + index])
            _ = ask(&core, progress(.rejected, 2 + index))
            for rejected in plans[...index].suffix(most) {
                #expect(ask(&core, planning(.proposed(proposal(rejected), from: 1))) == [])
            }
        }
        #expect(core.state(of: "shakespeare")?.rejectedPlans.map(\.revision) == Array(3...most + 2))
        #expect(ask(&core, planning(.proposed(proposal(plans[0]), from: 1))) == [most + 3])
    }

    /// - Returns: the revisions of the plans that the request adds.
    private func ask(_ core: inout CoordinatorCore, _ request: ChangeRequest) -> [Int] {
        core.handle(.requested(request, Ticket(1)), at: noon).changes.compactMap { change in
            if case .addPlan(let record) = change { record.plan.revision } else { nil }
        }
    }

    private func proposal(_ plan: PlacementPlan) -> PlanProposal {
        PlanProposal(plan: plan, prediction: Samples.prediction, why: "faster")
    }

    private func planning(_ outcome: PlanningRecord.Outcome) -> ChangeRequest {
        .recordPlanning(PlanningRecord(run: "shakespeare", incarnation: 1, who: "allocator", outcome: outcome))
    }

    private func progress(_ transition: PlanProgress.Transition, _ revision: Int) -> ChangeRequest {
        .planProgress(Samples.progress(transition, revision: revision), withdrawn: nil)
    }

    @Test func whatIsRestoredGoesOnWhereItWas() {
        var first = CoordinatorCore()
        _ = first.handle(.requested(.registerRun(Samples.registerRun()), Ticket(1)), at: noon)
        _ = first.handle(.requested(.registerWorker(Samples.registerWorker()), Ticket(2)), at: noon)
        _ = first.handle(.requested(.report(Samples.report()), Ticket(3)), at: noon)
        guard let state = first.state(of: "shakespeare") else {
            Issue.record("the run is not resident")
            return
        }
        var second = CoordinatorCore()
        let isResident = second.isResident("shakespeare")
        #expect(!isResident)
        let actions = second.handle(.restored(state), at: noon)
        #expect(actions.isEmpty)
        for request in [ChangeRequest.report(Samples.report()), .report(Samples.report(sequence: 2))] {
            let actions = second.handle(.requested(request, Ticket(4)), at: noon)
            let expected = first.handle(.requested(request, Ticket(4)), at: noon)
            #expect(actions == expected)
        }
        let (after, expected) = (second.state(of: "shakespeare"), first.state(of: "shakespeare"))
        #expect(after == expected)
    }

    @Test func aFailedCommitIsForgotten() {
        var core = CoordinatorCore()
        _ = core.handle(.requested(.registerRun(Samples.registerRun()), Ticket(1)), at: noon)
        let before = core.isResident("shakespeare")
        _ = core.handle(.commitFailed, at: noon)
        let after = core.isResident("shakespeare")
        #expect([before, after] == [true, false])
    }

    @Test func runsUsedLongestAgoLeaveAfterACommit() {
        var limits = Limits()
        limits.residentRuns = 2
        var core = CoordinatorCore(limits: limits)
        for run in ["a", "b", "c"] {
            _ = core.handle(.requested(.registerRun(Samples.registerRun(run)), Ticket(1)), at: noon)
        }
        _ = core.handle(.requested(.registerWorker(Samples.registerWorker("a")), Ticket(1)), at: noon)
        // Not before: the database does not have them yet.
        let before = [core.isResident("a"), core.isResident("b"), core.isResident("c")]
        _ = core.handle(.committed, at: noon)
        let after = [core.isResident("a"), core.isResident("b"), core.isResident("c")]
        #expect(before == [true, true, true])
        #expect(after == [true, false, true])
    }

    @Test func onlySoManyReportsAreKept() {
        var limits = Limits()
        limits.storedReportsPerRun = 300
        var core = CoordinatorCore(limits: limits)
        _ = core.handle(.requested(.registerRun(Samples.registerRun()), Ticket(1)), at: noon)
        _ = core.handle(.requested(.registerWorker(Samples.registerWorker()), Ticket(1)), at: noon)
        var stored = Set<Int>()
        for sequence in 1...2_000 {
            for change in core.handle(.requested(.report(Samples.report(sequence: sequence)), Ticket(1)), at: noon)
                .changes
            {
                switch change {
                case .addReport(_, let number, _, _): #expect(stored.insert(number).inserted)
                case .dropReports(_, let oldest): stored = stored.filter { $0 >= oldest }
                default: Issue.record("\(change)")
                }
            }
            #expect(stored.count < 300 + 256)
            #expect(stored.contains(sequence))
        }
        #expect(stored.count >= 300)
    }
}

extension [Action] {
    var changes: [Change] {
        compactMap { if case .store(let change) = $0 { change } else { nil } }
    }
}
