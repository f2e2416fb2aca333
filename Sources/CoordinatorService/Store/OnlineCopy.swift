import GRDB
import GRDBSQLite

/// A copy of a database that is in use, made a few pages at a time (https://www.sqlite.org/backup.html). What the database's
/// own connection writes in between goes to the copy as well, so that it is the database of the moment at which it is done.
///
/// Unchecked: all calls are made on the database's queue, and end with `finish` or `abandon`; the last release, which may come
/// from any thread, then finds nothing to do.
final class OnlineCopy: @unchecked Sendable {
    private var file: OpaquePointer?
    private var backup: OpaquePointer?

    /// - Parameter path: an empty file.
    init(of db: Database, to path: String) throws {
        let code = sqlite3_open_v2(path, &file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK else { throw failure(code) }
        // Nobody needs half a copy: it is synced when it is whole.
        for setting in ["journal_mode = OFF", "synchronous = OFF"] {
            let code = sqlite3_exec(file, "PRAGMA \(setting)", nil, nil, nil)
            guard code == SQLITE_OK else { throw failure(code) }
        }
        backup = sqlite3_backup_init(file, "main", db.sqliteConnection, "main")
        guard backup != nil else { throw failure(sqlite3_errcode(file)) }
    }

    deinit {
        sqlite3_backup_finish(backup)
        sqlite3_close_v2(file)
    }

    /// Copies up to `pages` pages.
    /// - Returns: whether the copy is whole.
    func step(pages: Int32) throws -> Bool {
        switch sqlite3_backup_step(backup, pages) {
        case SQLITE_DONE: return true
        case SQLITE_OK: return false
        case let code: throw failure(code)
        }
    }

    /// Closes the copy.
    func finish() throws {
        let code = sqlite3_backup_finish(backup)
        backup = nil
        guard code == SQLITE_OK else { throw failure(code) }
        let closed = sqlite3_close(file)
        guard closed == SQLITE_OK else { throw failure(closed) }
        file = nil
    }

    /// Leaves the copy as it is, after a failure.
    func abandon() {
        sqlite3_backup_finish(backup)
        backup = nil
    }

    private func failure(_ code: Int32) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: code), message: "the copy: " + String(cString: sqlite3_errstr(code)))
    }
}
