import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import Logging
import Testing

struct BackupTests {
    private let folder: TemporaryFolder
    private var storage: StorageConfiguration { StorageConfiguration(backupDirectory: folder.url.path) }

    init() throws {
        folder = try TemporaryFolder()
    }

    /// What is committed between two steps of the copy is in it, and nothing waits for its end.
    @Test(.timeLimit(.minutes(1)))
    func aBackupUnderLoadIsTheDatabaseOfItsEnd() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let content = try await StoreWorkload.withProcessor(store) { processor in
            for request in try StoreWorkload.requests.prefix(7) {
                guard case .refused(let error) = await processor.answer(to: request) else { continue }
                throw error
            }
            let sequences = SequenceNumbers()
            _ = try await store.backUp(to: folder.url.appending(path: "one"), pagesPerStep: 2) {
                let report = Samples.report(sequence: await sequences.next())
                guard case .acknowledged = await processor.answer(to: .report(report)) else {
                    throw ControlError(.storageUnavailable, "a report was refused")
                }
            }
            #expect(await sequences.next() > 5)
            return try StoreWorkload.dump(store)
        }
        try store.close()
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted() == ["moe.db", "one"])
        let copy = try DatabaseQueue(path: folder.path("one"))
        #expect(try StoreWorkload.dump(copy) == content)
        try copy.close()
    }

    /// The store goes on, and the next backup is whole.
    @Test func aBackupThatIsBrokenOffLeavesNothing() async throws {
        struct Enough: Error {}
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let url = folder.url.appending(path: "one")
        await #expect(throws: Enough.self) { try await store.backUp(to: url, pagesPerStep: 2) { throw Enough() } }
        let cancelled = Task {
            try await store.backUp(to: url, pagesPerStep: 2) { withUnsafeCurrentTask { $0?.cancel() } }
        }
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        func files() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
        }
        #expect(try files() == ["moe.db", "moe.db-wal"])
        try await store.commit([])
        #expect(try await store.backUp(to: url) > 4_096)
        try store.close()
        #expect(try files() == ["moe.db", "one"])
    }

    /// Ending does not wait until a large database is copied.
    @Test(.timeLimit(.minutes(1)))
    func aCoordinatorThatEndsBreaksItsBackupOff() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        // Copying begins, and would never end.
        let (steps, began) = AsyncStream.makeStream(of: Void.self)
        let backups = DatabaseBackups(
            store: store, directory: folder.url.path, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            pagesPerStep: 2,
            betweenSteps: {
                began.yield()
                try await Task.sleep(for: .seconds(3_600))
            })
        async let code = self.code(backups)
        for await _ in steps { break }
        backups.stop()
        #expect(await code == .overloaded)
        #expect(await self.code(backups) == .overloaded)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted() == ["moe.db", "moe.db-wal"])
        try store.close()

        try await LiveCoordinator.run(storage: storage) { coordinator in
            coordinator.server.stop()
            #expect(await self.code(coordinator.server.backups) == .overloaded)
        }
    }

    private func code(_ backups: DatabaseBackups) async -> ControlError.Code? {
        do throws(ControlError) { _ = try await backups.answer(BackUpDatabase(file: "one")) } catch {
            return error.code
        }
        return nil
    }

    /// A backup whose coordinator was killed does not stay for good.
    @Test func partsOfBackupsAreRemovedAtTheStart() async throws {
        let kept = [".one", ".partial", "moe.db", "one", "one.partial"]
        for name in kept + [".one.partial", ".one.partial-wal", ".two.partial-shm", ".two.partial-journal"] {
            try Data("half".utf8).write(to: folder.url.appending(path: name))
        }
        try await LiveCoordinator.run(storage: storage) { coordinator in
            _ = try await coordinator.client().send(ListRuns())
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted() == kept)
    }

    /// A disk that is slow stops nobody but the backup. Opening a pipe stands for it, which waits for a writer; the last to begin is
    /// the first that gets one. Dispatch starts only one more thread a second when all that it has are blocked.
    @Test(.timeLimit(.minutes(1)))
    func syncingLeavesTheServerItsThreads() async throws {
        let pipes = (0..<ProcessInfo.processInfo.activeProcessorCount + 100).map { folder.path("pipe-\($0)") }
        for pipe in pipes { #expect(mkfifo(pipe, 0o600) == 0) }
        await withTaskGroup { group in
            for pipe in pipes {
                group.addTask { _ = try? await DurableFile.syncOnThread(pipe) }
            }
            // Needs a thread of the pool.
            for pipe in pipes.reversed() {
                await Task {
                    _ = try? await blocking { close(open(pipe, O_WRONLY)) }
                }.value
            }
        }
    }

    /// The numbers that were given out since would be given out again.
    @Test func aBackupIsNoDatabaseUntilItIsRestored() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        _ = try await store.backUp(to: folder.url.appending(path: "one"))
        try store.close()
        let bytes = try Data(contentsOf: folder.url.appending(path: "one"))
        let error = #expect(throws: StoreError.self) { try CoordinatorStore(path: folder.path("one")) }
        #expect(error?.code == .backup)
        #expect(error?.description.contains("moe-coordinator restore") == true)
        #expect(try Data(contentsOf: folder.url.appending(path: "one")) == bytes)
        #expect(try CoordinatorStore.restore(folder.path("one"), to: folder.path("new.db")) == 0)
        for _ in 0..<2 { try CoordinatorStore(path: folder.path("new.db")).close() }
    }

    private actor SequenceNumbers {
        private var last = 2
        func next() -> Int {
            last += 1
            return last
        }
    }

    /// The live database went on after the backup: no number that it gave out then is given out again.
    @Test func aRestoredDatabaseUsesNoNumberAgain() async throws {
        try await LiveCoordinator.run(storage: storage) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            _ = try await client.send(Samples.registerRun("deleted"))
            _ = try await client.send(Samples.finishRun("deleted"))
            _ = try await client.send(DeleteRun(run: "deleted", who: "ada", why: "a test"))
            #expect(try await client.send(BackUpDatabase(file: "one")).bytes ?? 0 > 4_096)

            let plan = try Samples.shiftedPlan(by: 1)
            let proposal = ProposePlacement(run: "shakespeare", plan: plan, who: "ada", why: "a test")
            #expect(try await client.send(proposal).revision == 2)
            #expect(try await client.send(Samples.registerRun(registration: "a2")).incarnation == 2)
            #expect(try await client.send(Samples.registerRun("later")).incarnation == 1)
        }
        // By a clock that was never set, so that the gap alone is skipped.
        let time = Timestamp(milliseconds: 0)
        #expect(try CoordinatorStore.restore(folder.path("one"), to: folder.path("restored.db"), at: time) == 1)

        let gap = Limits.standard.restoredGap
        try await LiveCoordinator.run(database: folder.path("restored.db")) { coordinator in
            let client = try await coordinator.client()
            // A job that went through it all, under a plan that the database does not know.
            var sample = Samples.sample()
            sample.planRevision = 2
            #expect(try await client.send(Samples.report(sample: sample)).sequence == 1)
            sample.planRevision = 2 * gap
            _ = try await client.send(Samples.report(sequence: 2, sample: sample))
            let poll = PollPlan(run: "shakespeare", incarnation: 1, revision: 2 * gap)
            #expect(try await client.send(poll).plan == nil)

            let again = try await client.send(Samples.registerRun(registration: "a3"))
            #expect(again.incarnation == gap + 2)
            #expect(again.plan.revision == 1)
            let plan = try Samples.shiftedPlan(by: 1)
            let proposal = ProposePlacement(run: "shakespeare", plan: plan, who: "ada", why: "a test")
            #expect(try await client.send(proposal).revision == 2 * gap + 1)
            // The start that the backup does not know is over.
            let late = await #expect(throws: ControlError.self) {
                try await client.send(Samples.registerWorker(incarnation: 2))
            }
            #expect(late?.code == .staleIncarnation)

            let later = try await client.send(Samples.registerRun("later"))
            #expect(later.incarnation == gap + 1 && later.plan.revision == gap + 1)
            let deleted = try await client.send(Samples.registerRun("deleted"))
            #expect(deleted.incarnation == gap + 2 && deleted.plan.revision == gap + 2)
            let events = try await client.send(ShowRun(run: "shakespeare")).events
            #expect(events.contains { $0.kind == .databaseRestored && $0.why.hasPrefix("from one;") })
        }
    }

    @Test func whatCannotBeBackedUpIsRefused() async throws {
        @Sendable func code(_ client: ControlClient, _ request: BackUpDatabase) async -> ControlError.Code? {
            do throws(ControlError) { _ = try await client.send(request) } catch { return error.code }
            return nil
        }
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            #expect(await code(client, BackUpDatabase(file: "one")) == .unsupported)
        }
        let path = folder.url.path
        @Sendable func files() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
        try await LiveCoordinator.run(storage: storage) { coordinator in
            let client = try await coordinator.client()
            for name in ["../one", "/tmp/one", ".one", "", "moe.db-wal", "moe.db-shm", "one-journal", "a\u{0}b"] {
                #expect(await code(client, BackUpDatabase(file: name)) == .badRequest, "\(name)")
            }
            #expect(await code(client, BackUpDatabase(file: String(repeating: "a", count: 129))) == .limitExceeded)
            #expect(try await client.send(BackUpDatabase(file: "one", dryRun: true)).bytes == nil)
            #expect(try files() == [])
            // What a backup left that was broken off is replaced; another backup is not.
            try Data("half".utf8).write(to: folder.url.appending(path: ".one.partial"))
            _ = try await client.send(BackUpDatabase(file: "one"))
            let bytes = try Data(contentsOf: folder.url.appending(path: "one"))
            #expect(await code(client, BackUpDatabase(file: "one")) == .conflict)
            #expect(await code(client, BackUpDatabase(file: "one", dryRun: true)) == .conflict)
            #expect(try Data(contentsOf: folder.url.appending(path: "one")) == bytes)
            #expect(try files() == ["one"])
        }
    }

    @Test func whatCannotBeRestoredIsRefused() throws {
        func code(_ backup: String, to name: String = "new.db") -> StoreError.Code? {
            do { _ = try CoordinatorStore.restore(folder.path(backup), to: folder.path(name)) } catch {
                return error.code
            }
            return nil
        }
        try Data("This is a letter, not a database.".utf8).write(to: folder.url.appending(path: "letter"))
        try Data().write(to: folder.url.appending(path: "empty"))
        try CoordinatorStore(path: folder.path("good")).close()
        try Data().write(to: folder.url.appending(path: "used"))
        try Data().write(to: folder.url.appending(path: "used-wal"))
        try Data().write(to: folder.url.appending(path: "old.db-wal"))
        #expect(code("letter") == .foreign)
        #expect(code("empty") == .foreign)
        #expect(code("used") == .foreign)
        #expect(code("missing") == .foreign && code("") == .foreign)
        #expect(code("good", to: "empty") == .exists)
        #expect(code("good", to: "old.db") == .exists)
        #expect(code("good", to: "no/such/folder") == .failed)
        #expect(!FileManager.default.fileExists(atPath: folder.path("new.db")))
        #expect(code("good") == nil)
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(!left.contains { $0.contains("restoring") }, "\(left)")
    }
}
