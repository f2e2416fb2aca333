import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import Testing

/// Databases as earlier releases left them, kept as SQL.
struct EarlierSchemaTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "Fixtures")

    private func open(schema: Int) throws -> CoordinatorStore {
        let path = folder.path("schema-\(schema).db")
        let old = try DatabaseQueue(path: path)
        let sql = try String(contentsOf: Self.fixtures.appending(path: "schema-\(schema).sql"), encoding: .utf8)
        try old.write { db in try db.execute(sql: sql) }
        try old.close()
        return try CoordinatorStore(path: path)
    }

    @Test func thereIsADatabaseOfEachEarlierSchema() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.fixtures.path).sorted()
        let count = CoordinatorStore.migrator.migrations.count
        #expect(names == (1..<count).map { "schema-\($0).sql" })
    }

    /// Old databases and new ones are the same in the end.
    @Test(arguments: 1..<CoordinatorStore.migrator.migrations.count)
    func theSchemaIsBroughtUpToDate(schema: Int) throws {
        func statements(_ store: CoordinatorStore) throws -> [String] {
            defer { try? store.close() }
            return try store.queue.read { db in
                try String.fetchAll(db, sql: "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            }
        }
        let new = try statements(CoordinatorStore(path: folder.path("new.db")))
        #expect(try statements(open(schema: schema)) == new)
    }

    @Test func theFirstSchema() async throws {
        let store = try open(schema: 1)
        let state = try #require(try await store.state(of: "old"))
        #expect(state.plan.revision == 2)
        #expect(state.cluster == Cluster(worldSize: 1))
        #expect(state.planInFlight == nil && state.pastPlans.isEmpty && state.planning == PlanningSettings())
        #expect(state.archivedAt == nil)
        let plans = try await store.plans(ListPlans(), limits: .standard)
        #expect(plans.plans.map(\.state) == [.active, .superseded])
        #expect(plans.plans.map(\.layers) == [1, 1])
        #expect(plans.plans.map(\.activatedAt?.milliseconds) == [5, 5])
        #expect(plans.plans.map(\.endedAt?.milliseconds) == [nil, 6])
        #expect(try await store.reports(of: "old", incarnation: 1, limit: 9).first?.sample.expertLoads == [[20]])
        // Since the sixth, what came of reports is recorded beside them.
        let interval = try #require(try await store.intervals(ListIntervals(), limits: .standard).intervals.first)
        #expect(interval.number == 1 && interval.firstStep == 1 && interval.stepCount == 10 && interval.ranks == 1)
        #expect(interval.stepSeconds == 0.5 && interval.tokens == 10 && interval.loss == 2.5)
        #expect(interval.planRevision == 2 && interval.receivedAt == Timestamp(milliseconds: 9))
        #expect(interval.loadBalance == 1 && interval.balance == nil)
        try await goOn(store, state)
    }

    /// Since the second, plans in flight and planning are recorded.
    @Test(arguments: 2...7) func laterSchemas(schema: Int) async throws {
        let store = try open(schema: schema)
        let state = try #require(try await store.state(of: "old"))
        #expect(state.plan.revision == 2)
        #expect(state.planInFlight?.plan.revision == 3 && state.planInFlight?.state == .accepted)
        #expect(state.planInFlight?.acceptedStep == 30)
        #expect(state.pastPlans[2] == .active && state.lastRevision == 3 && state.interval == 10)
        #expect(state.planning == PlanningSettings(frozen: true, pinned: [ExpertID(layer: 0, expert: 0)]))
        let plans = try await store.plans(ListPlans(), limits: .standard).plans
        #expect(plans.map(\.state) == [.accepted, .active, .superseded])
        #expect(plans.map(\.layers) == [1, 1, 1])
        #expect(state.usedIncarnation == 0 && state.incarnation == 1)
        let report = try #require(try await store.reports(of: "old", incarnation: 1, limit: 9).first)
        #expect(report.sample.expertRows == 17 && report.sample.expertWork == 18)
        #expect(report.sample.expertLoads == [[20]] && report.sample.droppedTokens == nil)
        let interval = try #require(try await store.intervals(ListIntervals(), limits: .standard).intervals.first)
        #expect(interval.number == 1 && interval.loadBalance == 1 && interval.droppedShare == nil)
        try await goOn(store, state)
    }

    /// The run goes on as if nothing had been.
    private func goOn(_ store: CoordinatorStore, _ state: RunState) async throws {
        var core = CoordinatorCore()
        _ = core.handle(.restored(state), at: .now())
        // Since the seventh, what experts drop is recorded.
        let report = Samples.report("old", sequence: 2, sample: Samples.sample(loads: [[15]], dropped: [5]))
        let actions = core.handle(.requested(.report(report), Ticket(0)), at: .now())
        try await store.commit(actions.compactMap { if case .store(let change) = $0 { change } else { nil } })
        #expect(try await store.reports(of: "old", incarnation: 1, limit: 9).last == report)
        let intervals = try await store.intervals(ListIntervals(), limits: .standard).intervals
        #expect(intervals.map(\.firstStep) == [1, 11] && intervals.map(\.droppedShare) == [nil, 0.25])
        let loads = try await store.loads(ListLoads(), limits: .standard).loads
        #expect(loads.map(\.expertLoads) == [[[20]], [[15]]] && loads.map(\.droppedTokens) == [nil, [5]])
        try store.close()
    }
}
