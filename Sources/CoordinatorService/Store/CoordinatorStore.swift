import ControlProtocol
import CoordinatorCore
import GRDB

/// The coordinator's database: one SQLite file, one connection, held exclusively.
///
/// `commit` returns when the transaction would survive a power loss: write-ahead log, synced at each commit
/// (https://www.sqlite.org/pragma.html#pragma_synchronous).
public final class CoordinatorStore: Sendable {
    /// "MoEC": tells the coordinator's databases from others (https://www.sqlite.org/pragma.html#pragma_application_id).
    static let applicationID = 0x4D6F_4543

    /// How much of what is acknowledged a power loss may take.
    package enum Durability: Int {
        /// The newest of it: only for tests that must find that.
        case normal = 1
        case full = 2
    }

    public let path: String
    package let queue: DatabaseQueue

    /// Opens the file, or makes it; checks it, and brings it to the newest schema.
    /// - Throws: `StoreError`.
    public convenience init(path: String) throws(StoreError) {
        try self.init(path: path, durability: .full)
    }

    /// - Parameters:
    ///   - checkpointPages: length of the log from which a commit moves it to the database.
    ///   - takesBackups: whether the file may be a backup: whoever says so makes it a database.
    package init(
        path: String, durability: Durability = .full, checkpointPages: Int = 1_000, takesBackups: Bool = false
    ) throws(StoreError) {
        self.path = path
        do {
            var configuration = Configuration()
            configuration.label = "coordinator"
            configuration.foreignKeysEnabled = true
            configuration.busyMode = .immediateError
            configuration.prepareDatabase { db in
                try Self.claim(db, path: path, durability, takesBackups: takesBackups)
                try db.execute(sql: "PRAGMA wal_autocheckpoint = \(checkpointPages)")
            }
            Self.makePrivate(path)
            queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Self.migrator
            try queue.writeWithoutTransaction { db in
                try Self.checkIntegrity(db, path: path)
                guard try !migrator.hasBeenSuperseded(db) else {
                    throw StoreError(
                        .newer, "a newer coordinator wrote the database \(path); use that version, or a newer one")
                }
            }
            try migrator.migrate(queue)
        } catch {
            throw .opening(path, error)
        }
    }

    /// Closes the file. Whoever uses the store after that gets an error.
    public func close() throws {
        try queue.close()
    }

    /// Makes a file that is not there yet, so that only its owner may read it; SQLite would let everybody. Its log takes the
    /// mode over. A file that is there is not touched: closing it would give up the locks of another connection
    /// (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
    private static func makePrivate(_ path: String) {
        guard !path.hasPrefix("file:"), !path.isEmpty, !DurableFile.exists(path) else { return }
        // Through a link, as SQLite goes. What goes wrong here SQLite will say.
        try? DurableFile.create(path, exclusively: false)
    }

    /// Makes the connection exclusive and durable, and proves it.
    private static func claim(
        _ db: Database, path: String, _ durability: Durability, takesBackups: Bool
    ) throws {
        // Before the first access: a write-ahead log then needs no memory shared with other processes
        // (https://www.sqlite.org/wal.html#noshm).
        try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
        let id = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let objects = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
        guard id == applicationID || (id == 0 && objects == 0) else {
            throw StoreError(.foreign, "\(path) is the database of another program; name another file, or a new one")
        }
        guard try takesBackups || Int.fetchOne(db, sql: "PRAGMA user_version") != backupMark else {
            throw StoreError(
                .backup,
                "\(path) is a backup; make a database of it with moe-coordinator restore, which uses no number again")
        }
        let journal = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
        try db.execute(sql: "PRAGMA synchronous = \(durability.rawValue)")
        // Zeros in place of what was deleted would go through the log.
        try db.execute(sql: "PRAGMA secure_delete = OFF")
        // Takes the lock, even if nothing has to be written.
        try db.execute(sql: "BEGIN EXCLUSIVE; COMMIT")
        // Before anything else is in it: a database that was being made when power was lost is ours, too.
        if id == 0 { try db.execute(sql: "PRAGMA application_id = \(applicationID)") }

        let locking = try String.fetchOne(db, sql: "PRAGMA locking_mode")
        let synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous")
        let foreignKeys = try Int.fetchOne(db, sql: "PRAGMA foreign_keys")
        guard journal == "wal", locking == "exclusive", synchronous == durability.rawValue, foreignKeys == 1 else {
            throw StoreError(
                .notDurable,
                "the database \(path) does not take the settings it needs: journal_mode \(journal ?? "?"), "
                    + "locking_mode \(locking ?? "?"), synchronous \(synchronous ?? -1), foreign_keys \(foreignKeys ?? -1)"
            )
        }
    }

    private static func checkIntegrity(_ db: Database, path: String) throws {
        let findings = try String.fetchAll(db, sql: "PRAGMA integrity_check(10)")
        guard findings == ["ok"] else {
            throw StoreError(
                .damaged, "the database \(path) is damaged (\(findings.joined(separator: "; "))); restore a copy of it")
        }
        if let violation = try Row.fetchOne(db, sql: "PRAGMA foreign_key_check") {
            throw StoreError(
                .damaged, "the database \(path) is damaged (a reference in \(violation)); restore a copy of it")
        }
    }
}
