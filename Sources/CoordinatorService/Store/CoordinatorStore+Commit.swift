import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation
import GRDB

extension CoordinatorStore {
    /// Makes all `changes` durable, in order, or none of them.
    public func commit(_ changes: [Change]) async throws {
        try await queue.write { db in
            var reports = ReportWriter()
            for change in changes {
                if case .addReport(let report, let number, let window, let time) = change {
                    try reports.add(report, number: number, window: window, at: time, db)
                } else {
                    try reports.finish(db)
                    try Self.apply(change, db)
                }
            }
            try reports.finish(db)
        }
    }

    private static func apply(_ change: Change, _ db: Database) throws {
        switch change {
        case .putRun(let request, let incarnation, let time): try put(request, incarnation: incarnation, at: time, db)
        case .addIncarnation(let request, let number, let time):
            try execute(
                db,
                """
                INSERT INTO incarnations (run_id, number, registration, world_size, host, process_id, started_at)
                VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?, ?, ?, ?, ?)
                """,
                [
                    request.run, number, request.registration, request.worldSize, request.host, request.processID,
                    time.milliseconds,
                ])
        case .addPlan(let record): try add(record, db)
        case .setPlanState(let run, let revision, let state, let reason, let time):
            try set(state, of: run, revision: revision, reason: reason, at: time, db)
        case .setPlanProgress(let progress, let acceptedStep): try set(progress, acceptedStep: acceptedStep, db)
        case .setPlanObservation(let run, let revision, let observation):
            try set(observation, of: run, revision: revision, db)
        case .setPlanning(let run, let settings): try set(settings, of: run, db)
        case .putWorker(let request, let time):
            try execute(
                db,
                """
                INSERT INTO workers (run_id, incarnation, rank, host, process_id, registered_at)
                VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET host = excluded.host, process_id = excluded.process_id,
                    registered_at = excluded.registered_at
                """,
                [request.run, request.incarnation, request.rank, request.host, request.processID, time.milliseconds])
        case .addReport: break
        case .dropReports(let run, let number):
            try execute(
                db, "DELETE FROM reports WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND number < ?",
                [run, number])
        case .addCheckpoint(let request, let keep, let time): try add(request, keep: keep, at: time, db)
        case .endIncarnation(let request, let time): try end(request, at: time, db)
        case .raiseRevision(let run, let revision):
            try execute(db, "UPDATE runs SET used_revision = ? WHERE name = ?", [revision, run])
        case .archiveRun(let run, let time):
            try execute(db, "UPDATE runs SET archived_at = ? WHERE name = ?", [time?.milliseconds, run])
        case .deleteRun(let request, let used, let time): try delete(request, used, at: time, db)
        case .addEvent(let run, let event):
            try execute(
                db,
                """
                INSERT INTO events (run_id, at, kind, incarnation, revision, who, why)
                VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?, ?, ?, ?, ?)
                """,
                [
                    run, event.at.milliseconds, event.kind.rawValue, event.incarnation, event.revision, event.who,
                    event.why,
                ])
        }
    }

    private static func delete(_ request: DeleteRun, _ used: UsedNumbers, at time: Timestamp, _ db: Database) throws {
        // Plans refer to incarnations, which are deleted in no particular order.
        try execute(
            db, "DELETE FROM plans WHERE run_id = (SELECT id FROM runs WHERE name = ?)", [request.run])
        try execute(db, "DELETE FROM runs WHERE name = ?", [request.run])
        try execute(
            db, "INSERT OR REPLACE INTO deleted_runs VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                request.run, time.milliseconds, used.revision, used.incarnation, request.who, request.why, used.report,
            ])
    }

    private static func put(_ request: RegisterRun, incarnation: Int, at time: Timestamp, _ db: Database) throws {
        try execute(
            db,
            """
            INSERT INTO runs (name, created_at, incarnation, world_size, allocator, model_json, layers, experts,
                configuration_json, cluster_json, report_interval, report_count, state)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
                ifnull((SELECT used_report FROM deleted_runs WHERE name = ?1), 0), 'running')
            ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, world_size = excluded.world_size,
                allocator = excluded.allocator, model_json = excluded.model_json, layers = excluded.layers,
                experts = excluded.experts, configuration_json = excluded.configuration_json,
                cluster_json = excluded.cluster_json, report_interval = excluded.report_interval, state = 'running',
                archived_at = NULL, reported_at = NULL, step = NULL, loss = NULL
            """,
            [
                request.run, time.milliseconds, incarnation, request.worldSize, request.allocator, json(request.model),
                request.model.layers.count, request.model.layers.reduce(0) { $0 + $1.count },
                json(request.configuration), json(Cluster(request)), request.interval,
            ])
    }

    private static func end(_ request: FinishRun, at time: Timestamp, _ db: Database) throws {
        try execute(
            db,
            """
            UPDATE incarnations SET finished_at = ?, step = ?, reason = ?
            WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND number = ?
            """, [time.milliseconds, request.step, request.reason, request.run, request.incarnation])
        try execute(
            db, "UPDATE runs SET state = ?, step = ? WHERE name = ?",
            [request.outcome.rawValue, request.step, request.run])
    }

    static func execute(_ db: Database, _ sql: String, _ arguments: StatementArguments) throws {
        try db.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
