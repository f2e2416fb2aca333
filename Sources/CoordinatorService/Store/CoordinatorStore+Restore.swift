import ControlProtocol
import Files
import Foundation
import GRDB

extension CoordinatorStore {
    /// Makes a database of a backup. Revisions and incarnations that may have been given out since the backup are skipped.
    /// - Parameter path: of the new database; there must be none.
    /// - Returns: how many runs it knows.
    /// - Throws: `StoreError`.
    public static func restore(
        _ backup: String, to path: String, limits: Limits = .standard, at time: Timestamp = .now()
    ) throws(StoreError) -> Int {
        for suffix in ["", "-wal", "-journal"] where DurableFile.exists(path + suffix) {
            throw StoreError(
                .exists, "there is \(path + suffix) already; move the old database away first, all files that begin so")
        }
        // SQLite puts the log beside the file, not beside a link to it.
        for log in [backup, URL(fileURLWithPath: backup).resolvingSymlinksInPath().path].map({ $0 + "-wal" })
        where DurableFile.exists(log) {
            throw StoreError(.foreign, "\(backup) is a database in use, or was, for there is \(log); restore a backup")
        }
        let partial = path + ".restoring"
        defer { for suffix in ["", "-wal", "-journal"] { unlink(partial + suffix) } }
        for suffix in ["", "-wal", "-journal"] { unlink(partial + suffix) }
        do {
            guard DurableFile.isFile(backup) else { throw StoreError(.foreign, "\(backup) is not a file") }
            guard try DurableFile.copy(backup, to: partial) > 0 else {
                throw StoreError(.foreign, "\(backup) is empty")
            }
            let store = try CoordinatorStore(path: partial, takesBackups: true)
            let runs = try store.skipNumbers(backup: backup, limits: limits, at: time)
            try store.moveLogToFile()
            try store.close()
            try DurableFile.sync(partial)
            guard link(partial, path) == 0 else { throw FileError(path) }
            try DurableFile.sync(URL(fileURLWithPath: path).deletingLastPathComponent().path)
            return runs
        } catch {
            throw StoreError.restoring(backup, partial, error)
        }
    }

    /// Numbers up to this one are skipped at least: a million for each second since 2020. What was given out since the backup
    /// was made is below, also by a database that was restored from the same backup before, and lost since.
    static func restoredFloor(at time: Timestamp) -> Int {
        let start: Int64 = 1_577_836_800_000
        // Far from the largest number of a message, whatever the clock says.
        return Int(min(max(time.milliseconds, start), start + 1 << 42) - start) * 1_000
    }

    /// Closing would do it, too, but would not say when it failed (https://www.sqlite.org/c3ref/close.html).
    private func moveLogToFile() throws {
        let mode = try queue.writeWithoutTransaction { db in
            try String.fetchOne(db, sql: "PRAGMA journal_mode = DELETE")
        }
        guard mode == "delete", !DurableFile.exists(path + "-wal") else {
            throw StoreError(.failed, "what was written to \(path) cannot be moved from its log to the file")
        }
    }

    private func skipNumbers(backup: String, limits: Limits, at time: Timestamp) throws -> Int {
        let (gap, floor) = (limits.restoredGap, Self.restoredFloor(at: time))
        let name = URL(fileURLWithPath: backup).lastPathComponent
        return try queue.write { db in
            try db.execute(sql: "PRAGMA user_version = 0")
            try db.execute(
                sql: """
                    UPDATE runs SET
                        used_revision = max(?2,
                            ?1 + max(used_revision, (SELECT max(revision) FROM plans WHERE run_id = runs.id))),
                        used_incarnation = max(?2, ?1 + max(used_incarnation, incarnation))
                    """, arguments: [gap, floor])
            try db.execute(
                sql: """
                    UPDATE deleted_runs SET used_revision = max(?2, ?1 + used_revision),
                        used_incarnation = max(?2, ?1 + used_incarnation)
                    """, arguments: [gap, floor])
            // All gaps together are what runs begin above that the backup does not know.
            try db.execute(
                sql: """
                    INSERT INTO restores (at, gap, backup)
                    VALUES (?3, max(?1, ?2 - (SELECT ifnull(sum(gap), 0) FROM restores)), ?4)
                    """, arguments: [gap, floor, time.milliseconds, name])
            try db.execute(
                sql: """
                    INSERT INTO events (run_id, at, kind, incarnation, who, why)
                    SELECT id, ?, ?, incarnation, 'moe-coordinator restore',
                        'from ' || ? || '; revisions up to ' || used_revision || ' and incarnations up to '
                        || used_incarnation || ' are skipped'
                    FROM runs
                    """,
                arguments: [time.milliseconds, RunEvent.Kind.databaseRestored.rawValue, name])
            return try Int.fetchOne(db, sql: "SELECT count(*) FROM runs") ?? 0
        }
    }
}

extension StoreError {
    fileprivate static func restoring(_ backup: String, _ partial: String, _ error: any Error) -> StoreError {
        if let error = error as? StoreError {
            return StoreError(error.code, error.description.replacing(partial, with: backup))
        }
        return StoreError(.failed, "\(backup) cannot be restored: \(reason(error))")
    }
}
