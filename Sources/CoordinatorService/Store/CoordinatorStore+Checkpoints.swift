import ControlProtocol
import GRDB

/// What ranks said of their checkpoints.
extension CoordinatorStore {
    /// The fifth schema.
    static let checkpoints = """
        CREATE TABLE checkpoints (
            id INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            incarnation INTEGER NOT NULL,
            step INTEGER NOT NULL,
            path TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            seconds REAL NOT NULL,
            recorded_at INTEGER NOT NULL,
            UNIQUE (run_id, incarnation, step)
        ) STRICT;

        CREATE INDEX checkpoints_by_run ON checkpoints (run_id, id);
        """

    static func add(_ request: RecordCheckpoint, keep: Int, at time: Timestamp, _ db: Database) throws {
        try execute(
            db,
            """
            INSERT INTO checkpoints (run_id, incarnation, step, path, bytes, seconds, recorded_at)
            VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?, ?, ?, ?, ?)
            """,
            [
                request.run, request.incarnation, request.step, request.path, request.bytes, request.seconds,
                time.milliseconds,
            ])
        try execute(
            db,
            """
            DELETE FROM checkpoints WHERE run_id = (SELECT id FROM runs WHERE name = ?1) AND id <= (
                SELECT id FROM checkpoints WHERE run_id = (SELECT id FROM runs WHERE name = ?1)
                ORDER BY id DESC LIMIT 1 OFFSET ?2)
            """, [request.run, keep])
    }

    public func checkpoints(_ request: ListCheckpoints, limits: Limits) async throws -> RecordedCheckpoints {
        let limit = min(request.limit ?? limits.listedCheckpoints, limits.listedCheckpoints)
        return try await queue.read { db in
            let id = try Self.runID(request.run, db)
            let run = try Self.runName(id, db)
            let rows = try Row.fetchAll(
                db, sql: "SELECT * FROM checkpoints WHERE run_id = ? ORDER BY id DESC LIMIT ?",
                arguments: [id, limit + 1])
            return RecordedCheckpoints(
                run: run,
                checkpoints: rows.prefix(limit).map { row in
                    RecordedCheckpoint(
                        step: row["step"], incarnation: row["incarnation"], path: row["path"], bytes: row["bytes"],
                        seconds: row["seconds"], recordedAt: Timestamp(milliseconds: row["recorded_at"]))
                }, truncated: rows.count > limit)
        }
    }
}
