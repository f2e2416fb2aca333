import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation
import GRDB

extension CoordinatorStore {
    /// What the state machine has to know of a run; nil when there is no such run.
    public func state(of name: String) async throws -> RunState? {
        try await queue.read { db in
            guard
                let row = try Row.fetchOne(
                    db,
                    sql: """
                        SELECT runs.*, plan_json, switched_json,
                            max(used_revision, (SELECT max(revision) FROM plans WHERE run_id = runs.id)) AS last_revision
                        FROM runs JOIN incarnations ON incarnations.run_id = runs.id AND number = runs.incarnation
                            JOIN plans ON plans.run_id = runs.id AND plans.state = 'active'
                            JOIN placements USING (run_id, revision)
                        WHERE name = ?
                        """, arguments: [name])
            else { return nil }
            let id: Int64 = row["id"]
            let incarnation: Int = row["incarnation"]
            let registrations = try Row.fetchAll(
                db, sql: "SELECT registration, number FROM incarnations WHERE run_id = ?", arguments: [id])
            let plans = try Row.fetchAll(
                db,
                sql:
                    "SELECT revision, state FROM plans WHERE run_id = ? AND incarnation = ? AND origin <> 'registration'",
                arguments: [id, incarnation])
            let flight = try Row.fetchOne(
                db,
                sql: """
                    SELECT * FROM plans JOIN placements USING (run_id, revision)
                    WHERE run_id = ? AND state IN ('proposed', 'accepted', 'applying')
                    """, arguments: [id])
            let plan = try Self.plan(row)
            let rejected: [PlacementPlan] = try String.fetchAll(
                db,
                sql: """
                    SELECT plan_json FROM plans JOIN placements USING (run_id, revision)
                    WHERE run_id = ? AND incarnation = ? AND state = 'rejected' AND revision > ?
                    ORDER BY revision DESC LIMIT ?
                    """, arguments: [id, incarnation, plan.revision, RunState.mostRejectedPlans]
            ).reversed().map { try Self.value($0) }
            let checkpointStep = try Int.fetchOne(
                db, sql: "SELECT max(step) FROM checkpoints WHERE run_id = ? AND incarnation = ?",
                arguments: [id, incarnation])
            let workers = try Row.fetchAll(
                db, sql: "SELECT * FROM workers WHERE run_id = ? AND incarnation = ?", arguments: [id, incarnation])
            return RunState(
                run: name, model: try Self.value(row, "model_json"), allocator: row["allocator"],
                // Runs of the first schema said nothing of their ranks.
                cluster: try Self.optionalValue(row, "cluster_json") ?? Cluster(nodes: plan.nodes),
                interval: row["report_interval"], plan: plan, planInFlight: try flight.map(Self.planInFlight),
                rejectedPlans: rejected, pastPlans: try Self.pastPlans(plans), planning: try Self.planning(row),
                lastRevision: row["last_revision"], incarnation: incarnation,
                usedIncarnation: row["used_incarnation"],
                registrations: Dictionary(
                    registrations.map { ($0["registration"], $0["number"]) }, uniquingKeysWith: { first, _ in first }),
                outcome: FinishRun.Outcome(rawValue: row["state"]),
                archivedAt: Self.time(row["archived_at"]), checkpointStep: checkpointStep,
                workers: Dictionary(
                    workers.map { ($0["rank"], Self.worker($0)) }, uniquingKeysWith: { first, _ in first }),
                reportCount: row["report_count"])
        }
    }

    /// A plan by its revision, as if it were in flight; nil: there is none.
    func planInFlight(of run: String, revision: Int) async throws -> PlanInFlight? {
        try await queue.read { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT plans.*, plan_json FROM plans JOIN placements USING (run_id, revision) JOIN runs ON runs.id = run_id
                    WHERE name = ? AND revision = ?
                    """, arguments: [run, revision]
            ).map(Self.planInFlight)
        }
    }

    private static func planInFlight(_ row: Row) throws -> PlanInFlight {
        guard let state = PlanState(rawValue: row["state"]), let origin = PlanOrigin(rawValue: row["origin"]) else {
            throw damage("a plan's state or origin")
        }
        return PlanInFlight(
            plan: try value(row, "plan_json"), state: state, origin: origin, acceptedStep: row["accepted_step"],
            switched: try value(row, "switched_json"))
    }

    private static func pastPlans(_ rows: [Row]) throws -> [Int: PlanState] {
        var plans = [Int: PlanState]()
        for row in rows {
            guard let state = PlanState(rawValue: row["state"]) else { throw damage("a plan's state") }
            if !state.isInFlight { plans[row["revision"]] = state }
        }
        return plans
    }

    static func planning(_ row: Row) throws -> PlanningSettings {
        PlanningSettings(frozen: row["frozen"], pinned: try value(row, "pinned_json"))
    }

    /// The plan of a row of `plans` and `placements`, with its switch steps.
    static func plan(_ row: Row) throws -> PlacementPlan {
        let plan: PlacementPlan = try value(row, "plan_json")
        return plan.with(try value(row, "switched_json"))
    }

    private static func worker(_ row: Row) -> RunState.Worker {
        let applied: Int64 = row["applied_sequences"]
        return RunState.Worker(
            host: row["host"], processID: row["process_id"],
            reports: SequenceWindow(highest: row["highest_sequence"], applied: UInt64(bitPattern: applied)))
    }

    /// A column that holds JSON.
    static func value<Value: Decodable>(_ row: Row, _ column: String) throws -> Value {
        try value(row[column])
    }

    static func value<Value: Decodable>(_ json: String) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(json.utf8))
    }

    static func optionalValue<Value: Decodable>(_ row: Row, _ column: String) throws -> Value? {
        guard let text: String = row[column] else { return nil }
        return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
    }
}
