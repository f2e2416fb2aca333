import Files
import Foundation
import GRDB

extension CoordinatorStore {
    /// Pages that are copied before commits get their turn: a megabyte.
    package static let pagesPerStep: Int32 = 256
    /// Tells backups from databases in use (https://www.sqlite.org/pragma.html#pragma_user_version).
    static let backupMark = 1
    /// What SQLite adds to the name of a database for its files: itself, and what stands beside it for a while.
    static let databaseSuffixes = ["", "-wal", "-shm", "-journal"]

    /// Copies the database to a new file, whole, checked and synced, while it is in use.
    /// - Returns: the bytes of the copy.
    /// - Throws: `FileError.exists`; what the file system and the database say.
    package func backUp(
        to url: URL, pagesPerStep: Int32 = pagesPerStep, betweenSteps: () async throws -> Void = {}
    ) async throws -> Int {
        let folder = url.deletingLastPathComponent()
        // A name that no backup can have.
        let partial = folder.appending(path: "." + url.lastPathComponent + ".partial")
        let leftovers = Self.databaseSuffixes.map { partial.path + $0 }
        defer { for path in leftovers { unlink(path) } }
        for path in leftovers { unlink(path) }
        try DurableFile.create(partial.path)

        try await copyPages(to: partial.path, pagesPerStep, betweenSteps)
        try Task.checkCancellation()
        try await Self.complete(partial.path)
        let bytes = try await DurableFile.syncOnThread(partial.path)
        // A link, not a renaming, which would replace a file of that name.
        guard link(partial.path, url.path) == 0 else { throw FileError(url.path) }
        unlink(partial.path)
        try await DurableFile.syncOnThread(folder.path)
        return bytes
    }

    private func copyPages(
        to path: String, _ pagesPerStep: Int32, _ betweenSteps: () async throws -> Void
    ) async throws {
        let copy = try await queue.writeWithoutTransaction { db in try OnlineCopy(of: db, to: path) }
        do {
            while try await !queue.writeWithoutTransaction({ _ in try copy.step(pages: pagesPerStep) }) {
                try Task.checkCancellation()
                try await betweenSteps()
            }
            try await queue.writeWithoutTransaction { _ in try copy.finish() }
        } catch {
            // In a task of its own, for this one may be cancelled, and the queue would not take it.
            await Task { try? await queue.writeWithoutTransaction { _ in copy.abandon() } }.value
            throw error
        }
    }

    /// Makes the copy a file that stands by itself and is known for a backup, and reads all of it.
    private static func complete(_ path: String) async throws {
        let copy = try DatabaseQueue(path: path)
        try await copy.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA journal_mode = DELETE; PRAGMA user_version = \(backupMark)")
            let findings = try String.fetchAll(db, sql: "PRAGMA integrity_check(10)")
            guard findings == ["ok"] else {
                throw StoreError(.damaged, "the copy is damaged: \(findings.joined(separator: "; "))")
            }
        }
        try copy.close()
    }
}
