import ControlProtocol
import GRDB

/// How a run is, in numbers.
struct RunMeasures: Sendable {
    let run: String
    let worldSize: Int
    let planRevision: Int
    let reports: Int
    let step: Int?
    let loss: Double?
    let reportedAt: Timestamp?
    /// Of all its plans.
    let migrationBytes: Double
    let migrationSeconds: Double
    /// The newest that all ranks have reported, or most of them.
    let interval: Interval?
}

extension CoordinatorStore {
    /// How many runs have not ended, and how those of them are that were registered last. Archived ones are left out.
    func runMeasures(limit: Int) async throws -> (running: Int, measures: [RunMeasures]) {
        try await queue.read { db in
            let running = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM runs WHERE state = 'running' AND archived_at IS NULL")
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT runs.id, name, runs.world_size, report_count, reported_at, runs.step, loss, revision
                    FROM runs JOIN incarnations ON incarnations.run_id = runs.id AND number = runs.incarnation
                        JOIN plans ON plans.run_id = runs.id AND plans.state = 'active'
                    WHERE runs.state = 'running' AND archived_at IS NULL ORDER BY incarnations.rowid DESC LIMIT ?
                    """, arguments: [limit])
            return (running ?? 0, try rows.map { try Self.measures($0, db) })
        }
    }

    private static func measures(_ row: Row, _ db: Database) throws -> RunMeasures {
        let id: Int64 = row["id"]
        // An index has all of it: the plans themselves, which may be large, are not read.
        let costs = try Row.fetchOne(
            db, sql: "SELECT total(bytes) AS bytes, total(seconds) AS seconds FROM plans WHERE run_id = ?",
            arguments: [id])
        return RunMeasures(
            run: row["name"], worldSize: row["world_size"], planRevision: row["revision"],
            reports: row["report_count"], step: row["step"], loss: row["loss"], reportedAt: time(row["reported_at"]),
            migrationBytes: costs?["bytes"] ?? 0, migrationSeconds: costs?["seconds"] ?? 0,
            interval: try fullestInterval(of: id, columns: "*", db).flatMap(IntervalTotals.interval))
    }
}
