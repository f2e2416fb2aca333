import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import TestSupport
import Testing

/// Plans in the database.
struct StoredPlanTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private struct Stored: PlanLifeDatabase {
        let store: CoordinatorStore

        func commit(_ changes: [Change], state: RunState?) async throws {
            try await store.commit(changes)
            let stored = try await store.state(of: PlanLife<Stored>.run)
            #expect(stored == state)
        }

        func state(of run: String) async throws -> RunState? { try await store.state(of: run) }
    }

    @Test func whatIsStoredIsWhatTheStateMachineHolds() async throws {
        let seed = TestRuns.seed()
        for schedule in 0..<5 {
            let store = try CoordinatorStore(path: folder.path("moe-\(schedule).db"))
            var life = PlanLife(Stored(store: store), seed: seed &+ UInt64(schedule))
            let problems = try await life.play(events: 150)
            #expect(problems.isEmpty, "seed \(seed), schedule \(schedule): \(problems)")
            try store.close()
        }
    }

    @Test func theDatabaseItselfRefusesASecondPlanInFlight() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let registration = Samples.registerRun(worldSize: 4)
        func record(_ revision: Int) throws -> PlanRecord {
            var plan = try Samples.plan
            plan.revision = revision
            return PlanRecord(
                run: "shakespeare", incarnation: 1, plan: plan, state: .proposed, origin: .planner, who: "a", why: "b",
                at: .now())
        }
        try await store.commit([
            .putRun(registration, incarnation: 1, at: .now()), .addIncarnation(registration, number: 1, at: .now()),
            .addPlan(record(1)),
        ])
        await #expect(throws: DatabaseError.self) { try await store.commit([.addPlan(record(2))]) }
    }

    @Test func reportsComeBackAsTheyCame() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var core = CoordinatorCore()
        var reports = [
            Samples.report(rank: 0, sequence: 1), Samples.report(rank: 1, sequence: 1, sample: Samples.sample()),
        ]
        reports[1].sample.expertRows = 17
        reports[1].sample.expertWork = 18
        let requests: [ChangeRequest] =
            [
                .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker()),
                .registerWorker(Samples.registerWorker(rank: 1)),
            ] + reports.map(ChangeRequest.report)
        for request in requests {
            let actions = core.handle(.requested(request, Ticket(0)), at: .now())
            try await store.commit(actions.compactMap { if case .store(let change) = $0 { change } else { nil } })
        }
        #expect(try await store.reports(of: "shakespeare", incarnation: 1, limit: 5) == reports)
        #expect(try await store.reports(of: "shakespeare", incarnation: 1, limit: 1) == [reports[1]])
        #expect(try await store.reports(of: "shakespeare", incarnation: 2, limit: 5) == [])
    }
}
