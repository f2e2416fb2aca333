import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import Testing

struct RestoreTests {
    private static let tuesday = Timestamp(milliseconds: 1_795_000_000_000)
    /// A million for each second since 2020.
    private static let tuesdaysFloor = (1_795_000_000 - 1_577_836_800) * 1_000_000
    private let folder: TemporaryFolder
    private var gap: Int { Limits.standard.restoredGap }

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Makes `one`, a backup that knows a run, and one that was deleted.
    private func backUp(runs: Int = 1) async throws {
        let store = try CoordinatorStore(path: folder.path("old.db"))
        try await StoreWorkload.withProcessor(store) { processor in
            var requests = [
                ChangeRequest.registerRun(Samples.registerRun()), .registerRun(Samples.registerRun("deleted")),
                .finishRun(Samples.finishRun("deleted")),
                .deleteRun(DeleteRun(run: "deleted", who: "ada", why: "a test")),
            ]
            requests += (1..<max(1, runs)).map { .registerRun(Samples.registerRun("run-\($0)")) }
            for request in requests {
                if case .refused(let error) = await processor.answer(to: request) { throw error }
            }
        }
        _ = try await store.backUp(to: folder.url.appending(path: "one"))
        try store.close()
    }

    /// What a database gives out next: incarnations and revisions, of runs that the backup knows, does not know any more, and
    /// never knew.
    private func next(_ database: String) async throws -> [Int] {
        let store = try CoordinatorStore(path: database)
        let numbers = try await StoreWorkload.withProcessor(store) { processor in
            var numbers = [Int]()
            for run in ["shakespeare", "deleted", "later"] {
                let known = try await store.state(of: run)
                let registration = Samples.registerRun(run, registration: UUID().uuidString)
                switch await processor.answer(to: .registerRun(registration)) {
                case .runRegistered(let reply):
                    numbers += [reply.incarnation, known.map { $0.lastRevision + 1 } ?? reply.plan.revision]
                case let answer: Issue.record("\(answer)")
                }
            }
            return numbers
        }
        try store.close()
        return numbers
    }

    /// Monday's backup is restored on Tuesday; that database is lost as well.
    @Test func aBackupThatIsRestoredTwiceUsesNoNumberAgain() async throws {
        try await backUp()
        let floor = Self.tuesdaysFloor
        #expect(try CoordinatorStore.restore(folder.path("one"), to: folder.path("a.db"), at: Self.tuesday) == 1)
        #expect(try await next(folder.path("a.db")) == [Int](repeating: floor + 1, count: 6))
        let secondLater = Timestamp(milliseconds: Self.tuesday.milliseconds + 1_000)
        #expect(try CoordinatorStore.restore(folder.path("one"), to: folder.path("b.db"), at: secondLater) == 1)
        #expect(try await next(folder.path("b.db")) == [Int](repeating: floor + 1_000_001, count: 6))
    }

    /// The gap at least is skipped.
    @Test(arguments: [-1_000, 0, 1_577_836_800_000, tuesday.milliseconds - 60_000])
    func theClockMayBeSetBack(time: Int64) async throws {
        try await backUp()
        _ = try CoordinatorStore.restore(folder.path("one"), to: folder.path("a.db"), at: Self.tuesday)
        let numbers = try await next(folder.path("a.db"))
        let store = try CoordinatorStore(path: folder.path("a.db"))
        _ = try await store.backUp(to: folder.url.appending(path: "two"))
        try store.close()
        let early = Timestamp(milliseconds: time)
        _ = try CoordinatorStore.restore(folder.path("two"), to: folder.path("b.db"), at: early)
        for (before, after) in zip(numbers, try await next(folder.path("b.db"))) { #expect(after >= before + gap) }
    }

    @Test(arguments: [Int64.min, .max]) func noClockMakesNumbersTooLarge(time: Int64) async throws {
        try await backUp()
        let time = Timestamp(milliseconds: time)
        _ = try CoordinatorStore.restore(folder.path("one"), to: folder.path("a.db"), at: time)
        #expect(try await next(folder.path("a.db")).allSatisfy { (gap...(1 << 52)).contains($0) })
    }

    /// What the link names is copied, and stays as it is.
    @Test func aLinkToABackupIsRestored() async throws {
        try await backUp()
        let bytes = try Data(contentsOf: folder.url.appending(path: "one"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("newest"), withDestinationPath: folder.path("one"))
        #expect(try CoordinatorStore.restore(folder.path("newest"), to: folder.path("new.db")) == 1)
        #expect(try Data(contentsOf: folder.url.appending(path: "one")) == bytes)
        let kind = try FileManager.default.attributesOfItem(atPath: folder.path("new.db"))[.type] as? FileAttributeType
        #expect(kind == .typeRegular)
        #expect(try mode("new.db") == 0o600)
        _ = try await next(folder.path("new.db"))
        #expect(try Data(contentsOf: folder.url.appending(path: "one")) == bytes)
    }

    @Test func aLinkToADatabaseInUseIsRefused() throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("newest"), withDestinationPath: folder.path("moe.db"))
        let error = #expect(throws: StoreError.self) {
            try CoordinatorStore.restore(folder.path("newest"), to: folder.path("new.db"))
        }
        #expect(error?.code == .foreign)
        #expect(!FileManager.default.fileExists(atPath: folder.path("new.db")))
        try store.close()
    }

    /// The file may not grow, so that what was written stays in the log, which fits.
    @Test func aRestoreThatCannotWriteTheFileFails() async throws {
        try await backUp(runs: 200)
        let size = try Data(contentsOf: folder.url.appending(path: "one")).count
        let arguments = ["restore", folder.path("one"), "--database", folder.path("new.db")]
        let end = try CoordinatorProgram.run(arguments, fileBytes: size)
        #expect(end.status != 0, "\(end.output)")
        #expect(end.output.contains("cannot be restored"), "\(end.output)")
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
        #expect(left == ["old.db", "one"])
        #expect(try CoordinatorProgram.run(arguments).status == 0)
        _ = try await next(folder.path("new.db"))
    }

    /// Only its owner reads the database.
    @Test func theDatabaseIsPrivate() async throws {
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("link.db"), withDestinationPath: folder.path("linked.db"))
        for name in ["moe.db", "link.db"] {
            let store = try CoordinatorStore(path: folder.path(name))
            try await store.commit([])
            let file = name == "link.db" ? "linked.db" : name
            #expect(try mode(file) == 0o600)
            #expect(try mode(file + "-wal") == 0o600)
            try store.close()
        }
    }

    private func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: folder.path(name))[.posixPermissions] as? Int
    }
}
