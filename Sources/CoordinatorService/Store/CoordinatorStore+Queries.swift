import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation
import GRDB

/// Answers to requests that only read. What came later has the higher `rowid`; times may have been set back.
extension CoordinatorStore {
    public func runs(_ request: ListRuns = ListRuns(), limits: Limits) async throws -> Runs {
        try await queue.read { db in
            let filter = request.all == true ? "" : " WHERE archived_at IS NULL"
            let rows = try Row.fetchAll(
                db, sql: Self.summarySQL + filter + " ORDER BY incarnations.rowid DESC LIMIT ?",
                arguments: [limits.listedRuns + 1])
            let summaries = try rows.prefix(limits.listedRuns).map(Self.summary)
            return Runs(runs: summaries, truncated: rows.count > limits.listedRuns)
        }
    }

    public func run(_ request: ShowRun, limits: Limits) async throws -> RunShown {
        try await queue.read { db in
            let id = try Self.runID(request.run, db)
            guard let row = try Row.fetchOne(db, sql: Self.summarySQL + " WHERE runs.id = ?", arguments: [id]) else {
                throw Self.damage("run \(id) has no incarnation or no active plan")
            }
            let stored = try Int.fetchOne(db, sql: "SELECT count(*) FROM reports WHERE run_id = ?", arguments: [id])
            let events = try Row.fetchAll(
                db, sql: "SELECT * FROM events WHERE run_id = ? ORDER BY id DESC LIMIT ?",
                arguments: [id, limits.listedEvents])
            let cluster: Cluster? = try Self.optionalValue(row, "cluster_json")
            return RunShown(
                summary: try Self.summary(row), model: try Self.value(row, "model_json"), host: row["host"],
                processID: row["process_id"], reason: row["reason"],
                configuration: try Self.value(row, "configuration_json"), ownership: cluster?.ownership,
                exchange: cluster?.exchange, storedReports: stored ?? 0, events: try events.map(Self.event))
        }
    }

    /// Plans may have megabytes: they are decoded when no transaction waits for that.
    public func placement(_ request: ShowPlacement) async throws -> Placement {
        let stored = try await queue.read { db in
            let id = try Self.runID(request.run, db)
            let row: Row?
            if let revision = request.revision {
                row = try Row.fetchOne(
                    db, sql: Self.planSQL + " AND revision = ?", arguments: [id, revision])
            } else {
                row = try Row.fetchOne(db, sql: Self.planSQL + " AND plans.state = 'active'", arguments: [id])
            }
            guard let row, let state = PlanState(rawValue: row["state"]) else {
                throw ControlError(
                    .unknownRevision, "the run has no plan of revision \(request.revision.map(String.init) ?? "?")")
            }
            return StoredPlacement(row, state)
        }
        var plan = try stored.plan
        if let layer = request.layer {
            guard plan.layers.indices.contains(layer) else {
                throw ControlError(
                    .unknownLayer, "layer \(layer) is not in the plan, which has \(plan.layers.count) layers")
            }
            plan = try PlacementPlan(
                revision: plan.revision, worldSize: plan.worldSize, nodes: plan.nodes, layers: [plan.layers[layer]])
        }
        return Placement(
            run: stored.run, state: stored.state, incarnation: stored.incarnation, createdAt: stored.createdAt,
            who: stored.who, why: stored.why, layer: request.layer, plan: plan)
    }

    /// A row of `plans` and `placements` with the name of the run.
    private struct StoredPlacement: Sendable {
        let run: String
        let state: PlanState
        let incarnation: Int
        let createdAt: Timestamp
        let who: String
        let why: String
        private let planJSON: String
        private let switchedJSON: String

        init(_ row: Row, _ state: PlanState) {
            run = row["name"]
            self.state = state
            incarnation = row["incarnation"]
            createdAt = Timestamp(milliseconds: row["created_at"])
            who = row["who"]
            why = row["why"]
            planJSON = row["plan_json"]
            switchedJSON = row["switched_json"]
        }

        var plan: PlacementPlan {
            get throws {
                let plan: PlacementPlan = try CoordinatorStore.value(planJSON)
                return plan.with(try CoordinatorStore.value(switchedJSON))
            }
        }
    }

    public func workers(_ request: ListWorkers, limits: Limits) async throws -> Workers {
        try await queue.read { db in
            let id = try request.run.map { try Self.runID($0, db) }
            // One condition for both would look at the workers of all runs.
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT name, workers.* FROM workers JOIN runs ON runs.id = run_id AND runs.incarnation = workers.incarnation
                    WHERE \(id == nil ? "archived_at IS NULL" : "run_id = ?") ORDER BY name, rank LIMIT ?
                    """, arguments: id.map { [$0, limits.listedWorkers + 1] } ?? [limits.listedWorkers + 1])
            return Workers(
                workers: rows.prefix(limits.listedWorkers).map(Self.workerSummary),
                truncated: rows.count > limits.listedWorkers)
        }
    }

    private static let summarySQL = """
        SELECT runs.*, started_at, finished_at, host, process_id, incarnations.reason, plans.revision
        FROM runs JOIN incarnations ON incarnations.run_id = runs.id AND number = runs.incarnation
            JOIN plans ON plans.run_id = runs.id AND plans.state = 'active'
        """

    private static let planSQL = """
        SELECT name, plans.*, plan_json FROM plans JOIN placements USING (run_id, revision) JOIN runs ON runs.id = run_id
        WHERE run_id = ?
        """

    /// - Parameter name: nil for the run registered last, of those that are not archived.
    static func runID(_ name: String?, _ db: Database) throws -> Int64 {
        guard let name else {
            let newest = try Int64.fetchOne(
                db,
                sql: """
                    SELECT run_id FROM incarnations JOIN runs ON runs.id = run_id WHERE archived_at IS NULL
                    ORDER BY incarnations.rowid DESC LIMIT 1
                    """)
            guard let newest else {
                throw ControlError(.unknownRun, "no run was registered yet, or all are archived")
            }
            return newest
        }
        guard let id = try Int64.fetchOne(db, sql: "SELECT id FROM runs WHERE name = ?", arguments: [name]) else {
            throw ControlError.unknownRun(name)
        }
        return id
    }

    private static func summary(_ row: Row) throws -> RunSummary {
        guard let state = RunSummary.State(rawValue: row["state"]) else { throw damage("a run's state") }
        return RunSummary(
            run: row["name"], state: state, incarnation: row["incarnation"], worldSize: row["world_size"],
            layers: row["layers"], experts: row["experts"], allocator: row["allocator"], planRevision: row["revision"],
            createdAt: Timestamp(milliseconds: row["created_at"]),
            startedAt: Timestamp(milliseconds: row["started_at"]),
            finishedAt: time(row["finished_at"]), archivedAt: time(row["archived_at"]),
            reportedAt: time(row["reported_at"]), step: row["step"],
            loss: row["loss"])
    }

    static func event(_ row: Row) throws -> RunEvent {
        guard let kind = RunEvent.Kind(rawValue: row["kind"]) else { throw damage("an event's kind") }
        return RunEvent(
            kind: kind, at: Timestamp(milliseconds: row["at"]), incarnation: row["incarnation"],
            revision: row["revision"], who: row["who"], why: row["why"])
    }

    private static func workerSummary(_ row: Row) -> WorkerSummary {
        WorkerSummary(
            run: row["name"], incarnation: row["incarnation"], rank: row["rank"], host: row["host"],
            processID: row["process_id"], registeredAt: Timestamp(milliseconds: row["registered_at"]),
            reportedAt: time(row["reported_at"]), step: row["step"], stepSeconds: row["step_seconds"],
            residentBytes: row["resident_bytes"])
    }

    static func time(_ milliseconds: Int64?) -> Timestamp? {
        milliseconds.map(Timestamp.init(milliseconds:))
    }

    static func damage(_ what: String) -> StoreError {
        StoreError(.damaged, "the database has a value that it cannot have: \(what)")
    }
}
