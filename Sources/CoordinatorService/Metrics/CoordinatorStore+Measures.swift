import ControlProtocol
import GRDB

/// How a run is, in numbers.
struct RunMeasures: Sendable {
    let run: String
    let state: RunSummary.State
    /// Nil: it has ended, and its numbers are none of what is now.
    let progress: RunProgress?
}

/// How far a run is that has not ended.
struct RunProgress: Sendable {
    let worldSize: Int
    let planRevision: Int
    let reports: Int
    let step: Int?
    let loss: Double?
    /// When the last report came, or the ranks registered since.
    let heardAt: Timestamp
    /// The same of the rank that has been silent for longest.
    let longestSilentSince: Timestamp
    /// Of all its plans.
    let migrationBytes: Double
    let migrationSeconds: Double
    /// Of the newest few intervals the last that most ranks reported; nil when rank 0, whose reports make intervals, is far behind.
    let interval: Interval?
}

extension CoordinatorStore {
    /// How many runs have not ended, and how those of them are that were registered last, and then those that have ended since.
    /// Archived ones are left out.
    func runMeasures(limit: Int, endedSince: Timestamp) async throws -> (running: Int, measures: [RunMeasures]) {
        try await queue.read { db in
            let running = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM runs WHERE state = 'running' AND archived_at IS NULL")
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT runs.*, started_at, revision
                    FROM runs JOIN incarnations ON incarnations.run_id = runs.id AND number = runs.incarnation
                        JOIN plans ON plans.run_id = runs.id AND plans.state = 'active'
                    WHERE archived_at IS NULL AND (runs.state = 'running' OR finished_at >= ?)
                    ORDER BY runs.state = 'running' DESC, incarnations.rowid DESC LIMIT ?
                    """, arguments: [endedSince.milliseconds, limit])
            return (running ?? 0, try rows.map { try Self.measures($0, db) })
        }
    }

    private static func measures(_ row: Row, _ db: Database) throws -> RunMeasures {
        guard let state = RunSummary.State(rawValue: row["state"]) else { throw damage("a run's state") }
        return RunMeasures(
            run: row["name"], state: state, progress: state == .running ? try progress(row, db) : nil)
    }

    /// Intervals among which the fullest is looked for: of the last one or two, reports may be on the way. What is older is not how a
    /// run is now, when ranks have fallen silent.
    private static let newestIntervals = 3

    private static func progress(_ row: Row, _ db: Database) throws -> RunProgress {
        let id: Int64 = row["id"]
        let (worldSize, reports): (Int, Int) = (row["world_size"], row["report_count"])
        // An index has all of it: the plans themselves, which may be large, are not read.
        let costs = try Row.fetchOne(
            db, sql: "SELECT total(bytes) AS bytes, total(seconds) AS seconds FROM plans WHERE run_id = ?",
            arguments: [id])
        let workers = try Row.fetchOne(
            db,
            sql: """
                SELECT count(*) AS number, min(ifnull(reported_at, registered_at)) AS oldest FROM workers
                WHERE run_id = ? AND incarnation = ?
                """, arguments: [id, row["incarnation"] as Int])
        let started: Int64 = row["started_at"]
        // Nothing was heard of ranks that have not registered.
        let registered = workers?["number"] as Int? ?? 0
        let oldest = registered < worldSize ? started : workers?["oldest"] as Int64? ?? started
        let newest = try fullestInterval(of: id, columns: "*", among: newestIntervals, db)
        let isNow = newest.map { reports - ($0["last_number"] as Int) <= newestIntervals * worldSize } ?? false
        return RunProgress(
            worldSize: worldSize, planRevision: row["revision"], reports: reports, step: row["step"],
            loss: row["loss"],
            heardAt: Timestamp(milliseconds: max(started, row["reported_at"] as Int64? ?? 0)),
            longestSilentSince: Timestamp(milliseconds: oldest),
            migrationBytes: costs?["bytes"] ?? 0, migrationSeconds: costs?["seconds"] ?? 0,
            interval: isNow ? try newest.flatMap(IntervalTotals.interval) : nil)
    }
}
