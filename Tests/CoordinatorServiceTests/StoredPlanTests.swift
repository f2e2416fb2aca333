import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
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
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
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

    /// A database as the first release left it.
    @Test func aDatabaseOfTheFirstSchemaIsBroughtUpToDate() async throws {
        let plan = #"""
            {"format":1,"layers":[{"experts":[{"mesh":{"data_parallel":1,"ranks":[0],"tensor_parallel":1},"width":16}]}],\#
            "nodes":[0],"revision":REVISION,"world_size":1}
            """#
        let old = try DatabaseQueue(path: folder.path("moe.db"))
        try CoordinatorStore.migrator.migrate(old, upTo: CoordinatorStore.firstVersion)
        try await old.write { db in
            try db.execute(
                sql: """
                    PRAGMA application_id = 1299137859;
                    INSERT INTO runs VALUES (1, 'old', 5, 1, 1, 'expert-parallel', '{"hidden_size":8,"layers":[[16]]}', 1, 1,
                        '{}', 'running', 1, 9, 10, 2.5);
                    INSERT INTO incarnations VALUES (1, 1, 'a', 1, 'node-1', 7, 5, NULL, NULL, NULL);
                    INSERT INTO workers VALUES (1, 1, 0, 'node-1', 7, 5, 1, 1, 9, 10, 0.5, 100);
                    INSERT INTO reports VALUES (1, 1, 1, 0, 1, 9, 1, 10, 2, 5.0, '{}', 0, 10, 100, 2.5);
                    INSERT INTO loads VALUES (1, 1, 1, 1, 10, 2, '[[20]]');
                    """)
            for (revision, state) in [(1, "superseded"), (2, "active")] {
                try db.execute(
                    sql: "INSERT INTO plans VALUES (1, ?, ?, ?, 1, 5, 'rank 0', 'first', ?)",
                    arguments: [
                        revision, state, 5 + revision,
                        plan.replacingOccurrences(of: "REVISION", with: "\(revision)"),
                    ])
            }
        }
        try old.close()

        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let state = try #require(try await store.state(of: "old"))
        #expect(state.plan.revision == 2)
        #expect(state.cluster == Cluster(worldSize: 1))
        #expect(state.planInFlight == nil && state.pastPlans.isEmpty && state.planning == PlanningSettings())
        let plans = try await store.plans(ListPlans(), limits: .standard)
        #expect(plans.plans.map(\.state) == [.active, .superseded])
        #expect(plans.plans.map(\.layers) == [1, 1])
        #expect(plans.plans.map(\.activatedAt?.milliseconds) == [5, 5])
        #expect(plans.plans.map(\.endedAt?.milliseconds) == [nil, 6])
        #expect(try await store.reports(of: "old", incarnation: 1, limit: 9).first?.sample.expertLoads == [[20]])
        var core = CoordinatorCore()
        _ = core.handle(.restored(state), at: .now())
        let report = Samples.report("old", sequence: 2, sample: Samples.sample(loads: [[20]]))
        let actions = core.handle(.requested(.report(report), Ticket(0)), at: .now())
        try await store.commit(actions.compactMap { if case .store(let change) = $0 { change } else { nil } })
        #expect(try await store.reports(of: "old", incarnation: 1, limit: 9).last == report)
    }
}
