import ControlProtocol
import CoordinatorCore
import GRDB

/// What is kept, and what goes.
extension CoordinatorStore {
    /// The fourth schema: runs that are archived or were deleted, and databases that come from a backup.
    static let retention = """
        ALTER TABLE runs ADD COLUMN archived_at INTEGER;
        -- Numbers up to these may have been given out, though nothing here tells of it.
        ALTER TABLE runs ADD COLUMN used_revision INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE runs ADD COLUMN used_incarnation INTEGER NOT NULL DEFAULT 0;

        -- Their names may be used again, their numbers not.
        CREATE TABLE deleted_runs (
            name TEXT NOT NULL PRIMARY KEY,
            deleted_at INTEGER NOT NULL,
            used_revision INTEGER NOT NULL,
            used_incarnation INTEGER NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- The backups that this database went through. Runs that it does not know may have used the numbers of the gaps.
        CREATE TABLE restores (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            gap INTEGER NOT NULL,
            backup TEXT NOT NULL
        ) STRICT;
        """

    /// Numbers that are not to be given to a run that is not there; nil: it may begin with 1.
    package func usedNumbers(of run: String) async throws -> UsedNumbers? {
        try await queue.read { db in
            let deleted = try Row.fetchOne(db, sql: "SELECT * FROM deleted_runs WHERE name = ?", arguments: [run])
            if let deleted {
                return UsedNumbers(
                    revision: deleted["used_revision"], incarnation: deleted["used_incarnation"],
                    report: deleted["used_report"])
            }
            let skipped = try Int.fetchOne(db, sql: "SELECT sum(gap) FROM restores") ?? 0
            return skipped == 0 ? nil : UsedNumbers(revision: skipped, incarnation: skipped)
        }
    }

    /// What there is of a run; nil: there is no such run.
    func holdings(of run: String) async throws -> RunDeleted? {
        try await queue.read { db in
            guard let id = try Int64.fetchOne(db, sql: "SELECT id FROM runs WHERE name = ?", arguments: [run]) else {
                return nil
            }
            func count(_ table: String) throws -> Int {
                try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table) WHERE run_id = ?", arguments: [id]) ?? 0
            }
            return RunDeleted(
                run: run, incarnations: try count("incarnations"), plans: try count("plans"),
                reports: try count("reports"), loads: try count("loads"), events: try count("events"))
        }
    }

    /// Deletes a few of a run's reports, loads and placements, oldest first. Loads of many experts may have gigabytes, all of which
    /// are read. Placements of plans that are active or in flight stay: without them there is no run.
    /// - Returns: whether there were any.
    package func dropPart(of run: String, rows: Int = 64) async throws -> Bool {
        try await queue.write { db in
            for table in ["loads", "reports"] {
                try Self.execute(
                    db,
                    """
                    DELETE FROM \(table) WHERE run_id = (SELECT id FROM runs WHERE name = ?1) AND number <= (SELECT max(number) FROM
                        (SELECT number FROM \(table) WHERE run_id = (SELECT id FROM runs WHERE name = ?1)
                        ORDER BY number LIMIT ?2))
                    """, [run, rows])
                if db.changesCount > 0 { return true }
            }
            try Self.execute(
                db,
                """
                DELETE FROM placements WHERE run_id = (SELECT id FROM runs WHERE name = ?1) AND revision IN (SELECT revision
                    FROM placements JOIN plans USING (run_id, revision) WHERE run_id = (SELECT id FROM runs WHERE name = ?1)
                        AND state NOT IN ('active', 'proposed', 'accepted', 'applying')
                    ORDER BY revision LIMIT ?2)
                """, [run, rows])
            return db.changesCount > 0
        }
    }

    /// Drops reports that came before `time`, a few in each transaction, so that others need not wait. Loads stay.
    /// - Returns: how many.
    package func dropReports(before time: Timestamp, batch: Int = 500) async throws -> Int {
        var dropped = 0
        for id in try await queue.read({ db in try Int64.fetchAll(db, sql: "SELECT id FROM runs") }) {
            while true {
                try Task.checkCancellation()
                let count = try await queue.write { db in
                    // They are numbered as they came, so the oldest are found without a look at the others.
                    try Self.execute(
                        db,
                        """
                        DELETE FROM reports WHERE run_id = ?1 AND number <= (SELECT max(number) FROM
                            (SELECT number, received_at FROM reports WHERE run_id = ?1 ORDER BY number LIMIT ?2)
                            WHERE received_at < ?3)
                        """, [id, batch, time.milliseconds])
                    return db.changesCount
                }
                dropped += count
                if count == 0 { break }
            }
        }
        return dropped
    }
}
