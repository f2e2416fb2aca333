import ControlProtocol
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
        guard !DurableFile.exists(backup + "-wal") else {
            throw StoreError(
                .foreign, "\(backup) is a database in use, or was, for there is \(backup)-wal; restore a backup")
        }
        let partial = path + ".restoring"
        defer { for suffix in ["", "-wal", "-journal"] { unlink(partial + suffix) } }
        for suffix in ["", "-wal", "-journal"] { unlink(partial + suffix) }
        do {
            guard DurableFile.isFile(backup) else { throw StoreError(.foreign, "\(backup) is not a file") }
            try FileManager.default.copyItem(atPath: backup, toPath: partial)
            guard try DurableFile.sync(partial) > 0 else { throw StoreError(.foreign, "\(backup) is empty") }
            chmod(partial, 0o600)
            let store = try CoordinatorStore(path: partial, takesBackups: true)
            let runs = try store.skipNumbers(backup: backup, limits: limits, at: time)
            // Moves the log to the file.
            try store.close()
            try DurableFile.sync(partial)
            guard link(partial, path) == 0 else { throw FileError(path) }
            try DurableFile.sync(URL(fileURLWithPath: path).deletingLastPathComponent().path)
            return runs
        } catch {
            throw StoreError.restoring(backup, partial, error)
        }
    }

    private func skipNumbers(backup: String, limits: Limits, at time: Timestamp) throws -> Int {
        let gap = limits.restoredGap
        let name = URL(fileURLWithPath: backup).lastPathComponent
        return try queue.write { db in
            try db.execute(sql: "PRAGMA user_version = 0")
            try db.execute(
                sql: """
                    UPDATE runs SET
                        used_revision = ?1 + max(used_revision, (SELECT max(revision) FROM plans WHERE run_id = runs.id)),
                        used_incarnation = ?1 + max(used_incarnation, incarnation)
                    """, arguments: [gap])
            try db.execute(
                sql: """
                    UPDATE deleted_runs SET used_revision = used_revision + ?1, used_incarnation = used_incarnation + ?1
                    """, arguments: [gap])
            try db.execute(
                sql: "INSERT INTO restores (at, gap, backup) VALUES (?, ?, ?)",
                arguments: [time.milliseconds, gap, name])
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
