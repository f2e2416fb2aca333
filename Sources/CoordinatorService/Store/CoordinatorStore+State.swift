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
                        SELECT runs.*, plans.plan_json,
                            (SELECT max(revision) FROM plans WHERE run_id = runs.id) AS last_revision
                        FROM runs JOIN plans ON plans.run_id = runs.id AND plans.state = 'active'
                        WHERE name = ?
                        """, arguments: [name])
            else { return nil }
            let id: Int64 = row["id"]
            let incarnation: Int = row["incarnation"]
            let registrations = try Row.fetchAll(
                db, sql: "SELECT registration, number FROM incarnations WHERE run_id = ?", arguments: [id])
            let workers = try Row.fetchAll(
                db, sql: "SELECT * FROM workers WHERE run_id = ? AND incarnation = ?", arguments: [id, incarnation])
            return RunState(
                run: name, model: try Self.value(row, "model_json"), allocator: row["allocator"],
                plan: try Self.value(row, "plan_json"), lastRevision: row["last_revision"], incarnation: incarnation,
                registrations: Dictionary(
                    registrations.map { ($0["registration"], $0["number"]) }, uniquingKeysWith: { first, _ in first }),
                outcome: FinishRun.Outcome(rawValue: row["state"]),
                workers: Dictionary(
                    workers.map { ($0["rank"], Self.worker($0)) }, uniquingKeysWith: { first, _ in first }),
                reportCount: row["report_count"])
        }
    }

    private static func worker(_ row: Row) -> RunState.Worker {
        let applied: Int64 = row["applied_sequences"]
        return RunState.Worker(
            host: row["host"], processID: row["process_id"],
            reports: SequenceWindow(highest: row["highest_sequence"], applied: UInt64(bitPattern: applied)))
    }

    /// A column that holds JSON.
    static func value<Value: Decodable>(_ row: Row, _ column: String) throws -> Value {
        let text: String = row[column]
        return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
    }
}
