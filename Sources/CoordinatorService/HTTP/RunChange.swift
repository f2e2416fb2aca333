import ControlProtocol
import CoordinatorCore
import GRDB

/// How far a run is, as streams tell it: whoever sees another number asks for what is behind it.
package struct RunChange: ControlMessage {
    package static let type = "change"

    package var run: String
    package var state: RunSummary.State
    /// Reports so far.
    package var reports: Int
    /// Number of the newest event.
    package var events: Int
    /// Another one after every change of a plan or of the planning.
    package var plans: Int
    /// Of the active plan.
    package var planRevision: Int
    package var step: Int?
    package var reportedAt: Timestamp?

    private enum CodingKeys: String, CodingKey {
        case run, state, reports, events, plans, step
        case planRevision = "plan_revision"
        case reportedAt = "reported_at"
    }
}

/// How far all runs are together.
package struct RunsChange: ControlMessage {
    package static let type = "runs_change"

    /// How many there are, archived ones among them.
    package var runs: Int
    /// Another one after every change.
    package var changes: Int
}

extension CoordinatorStore {
    /// - Parameter plans: what to tell of its plans.
    func change(of run: String, plans: Int) async throws -> RunChange {
        try await queue.read { db in
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT runs.state, report_count, step, reported_at, revision,
                        (SELECT max(id) FROM events WHERE run_id = runs.id) AS event
                    FROM runs JOIN plans ON plans.run_id = runs.id AND plans.state = 'active' WHERE name = ?
                    """, arguments: [run])
            guard let row else { throw ControlError.unknownRun(run) }
            guard let state = RunSummary.State(rawValue: row["state"]) else { throw Self.damage("a run's state") }
            return RunChange(
                run: run, state: state, reports: row["report_count"], events: row["event"] ?? 0, plans: plans,
                planRevision: row["revision"], step: row["step"], reportedAt: Self.time(row["reported_at"]))
        }
    }

    func change(of changes: Int) async throws -> RunsChange {
        try await queue.read { db in
            RunsChange(runs: try Int.fetchOne(db, sql: "SELECT count(*) FROM runs") ?? 0, changes: changes)
        }
    }
}
