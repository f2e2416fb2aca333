import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import Synchronization
import TestSupport
import Testing

struct StoreTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    @Test func theConnectionIsDurableAndExclusive() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let settings = try await store.queue.writeWithoutTransaction { db in
            try ["journal_mode", "synchronous", "locking_mode", "foreign_keys", "application_id"].map {
                try String.fetchOne(db, sql: "PRAGMA \($0)")
            }
        }
        #expect(settings == ["wal", "2", "exclusive", "1", "1299137859"])
    }

    @Test func theSchemaIsTheOneRecorded() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let statements = try await store.queue.read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'grdb_%' ORDER BY rowid
                    """)
        }
        let actual = statements.map { $0 + ";\n" }.joined(separator: "\n")
        let file = Repository.schemas.appending(path: "coordinator.sql")
        #expect(try Repository.golden(file, actual: actual) == actual)
    }

    @Test func aSecondCoordinatorIsRefused() throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let error = #expect(throws: StoreError.self) { try CoordinatorStore(path: folder.path("moe.db")) }
        #expect(error?.code == .locked)
        #expect(error?.description.contains("another coordinator") == true)
        try store.close()
        try CoordinatorStore(path: folder.path("moe.db")).close()
    }

    @Test func otherFilesAreRefused() throws {
        func code(_ name: String) -> StoreError.Code? {
            do { _ = try CoordinatorStore(path: folder.path(name)) } catch { return error.code }
            return nil
        }
        try Data("This is a letter, not a database.".utf8).write(to: folder.url.appending(path: "letter"))
        #expect(code("letter") == .foreign)
        try DatabaseQueue(path: folder.path("other")).write { db in try db.execute(sql: "CREATE TABLE t (x)") }
        #expect(code("other") == .foreign)
        #expect(code("no/such/folder") == .unwritable)
        let newer = try CoordinatorStore(path: folder.path("newer"))
        try newer.queue.write { db in try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('2: later')") }
        try newer.close()
        #expect(code("newer") == .newer)
    }

    @Test func damageIsFound() throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try store.close()
        // The pages of the tables become noise; the header stays.
        let file = URL(fileURLWithPath: folder.path("moe.db"))
        var bytes = try Data(contentsOf: file)
        for index in 8_192..<bytes.count { bytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
        try bytes.write(to: file)
        let error = #expect(throws: StoreError.self) { try CoordinatorStore(path: folder.path("moe.db")) }
        #expect(error?.code == .damaged)
    }

    /// Requests about another run, in the same transaction, are answered as ever.
    @Test func aDamagedRunHoldsUpNoOther() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let runs = ["damaged", "whole"]
        try await StoreWorkload.withProcessor(store) { processor in
            for run in runs { _ = await processor.answer(to: .registerRun(Samples.registerRun(run))) }
        }
        try await store.queue.write { db in
            try db.execute(sql: "UPDATE runs SET model_json = '{' WHERE name = 'damaged'")
        }
        let log = CollectedLog()
        let processor = ChangeProcessor(store: store, limits: .standard, now: { Timestamp.now() }, logger: log.logger)
        let requests = (runs + ["damaged", "damaged"]).map {
            ChangeRequest.registerWorker(Samples.registerWorker($0))
        }
        let reads = Mutex(0)
        try await store.queue.write { db in
            db.trace { event in
                if "\(event)".contains("runs.*, plan_json") { reads.withLock { $0 += 1 } }
            }
        }
        let answers = await withTaskGroup(of: (String, Answer).self) { group in
            for request in requests { group.addTask { (request.run, await processor.answer(to: request)) } }
            // What is queued is waited for, whatever happens.
            await #expect(throws: Never.self) {
                try await eventually("all are queued") { () async in
                    await processor.queuedChanges == requests.count
                }
            }
            let work = Task { await processor.run() }
            let answers = await group.reduce(into: [String: [Answer]]()) { $0[$1.0, default: []].append($1.1) }
            await processor.stop()
            await work.value
            return answers
        }
        #expect(answers["whole"] == [Answer.workerRegistered(WorkerRegistered(run: "whole", incarnation: 1, rank: 0))])
        #expect(answers["damaged"]?.count == 3)
        for answer in answers["damaged"] ?? [] {
            guard case .refused(let error) = answer else {
                Issue.record("\(answer)")
                continue
            }
            #expect(error.code == .storageUnavailable)
        }
        // Each run once.
        #expect(reads.withLock { $0 } == 2)
        #expect(log.lines.count == 1)
        #expect(log.lines.first?.contains("the database does not give a run") == true, "\(log.lines)")
        #expect(log.lines.first?.hasSuffix(" run=damaged") == true, "\(log.lines)")
        #expect(try await store.workers(ListWorkers(run: "whole"), limits: .standard).workers.count == 1)
        try store.close()
    }

    @Test func theStateThatIsReadIsTheOneThatWasWritten() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var core = CoordinatorCore()
        let plan = try Samples.plan
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 8], [8]])
        let requests: [ChangeRequest] = [
            .registerRun(
                Samples.registerRun(worldSize: 4, nodes: [0, 0, 1, 1], model: model, allocator: "own", plan: plan)),
            .registerWorker(Samples.registerWorker(rank: 3)), .registerWorker(Samples.registerWorker()),
            .report(Samples.report(rank: 3, sequence: 9, sample: Samples.sample())),
            .report(Samples.report(rank: 3, sequence: 72, sample: Samples.sample())),
            .report(Samples.report(rank: 0, sequence: 64, sample: Samples.sample(loads: [[1, 2], [3]], loss: 1))),
            .report(Samples.report(rank: 0, sequence: 1, sample: Samples.sample())), .finishRun(Samples.finishRun()),
        ]
        for request in requests {
            var changes = [Change]()
            for action in core.handle(.requested(request, Ticket(0)), at: .now()) {
                if case .store(let change) = action { changes.append(change) }
                if case .answer(_, .refused(let error)) = action { throw error }
            }
            try await store.commit(changes)
            let (written, read) = (core.state(of: "shakespeare"), try await store.state(of: "shakespeare"))
            #expect(read == written)
        }
        #expect(try await store.state(of: "nobody") == nil)
        try store.close()
        let reopened = try CoordinatorStore(path: folder.path("moe.db"))
        let (written, read) = (core.state(of: "shakespeare"), try await reopened.state(of: "shakespeare"))
        #expect(read == written)
    }

    @Test func aTransactionHappensWholeOrNotAtAll() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let registration = Samples.registerRun()
        await #expect(throws: (any Error).self) {
            try await store.commit([
                .putRun(registration, incarnation: 1, at: .now()),
                .addIncarnation(registration, number: 1, at: .now()),
                .addIncarnation(registration, number: 1, at: .now()),
            ])
        }
        #expect(try await store.queue.read { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM runs") } == 0)
    }

    @Test func theDatabaseItselfRefusesASecondActivePlan() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let registration = Samples.registerRun(worldSize: 4)
        func record(_ revision: Int) throws -> PlanRecord {
            var plan = try Samples.plan
            plan.revision = revision
            return PlanRecord(
                run: "shakespeare", incarnation: 1, plan: plan, state: .active, who: "a", why: "b", at: .now())
        }
        try await store.commit([
            .putRun(registration, incarnation: 1, at: .now()), .addIncarnation(registration, number: 1, at: .now()),
            .addPlan(record(1)),
        ])
        await #expect(throws: DatabaseError.self) { try await store.commit([.addPlan(record(2))]) }
        await #expect(throws: DatabaseError.self) { try await store.commit([.addPlan(record(1))]) }
    }
}

struct ReportWriterTests {
    @Test func phasesAreWrittenAsTheGeneralEncoderDoes() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let names = ["experts", "a b", "with \"quotes\"", "back\\slash", "a/b", "Größe", "", "\u{1}", "~", "Z", "a"]
        for _ in 0..<2_000 {
            var phases = [String: Double]()
            for name in names where Int.random(in: 0..<4, using: &random) == 0 {
                let bits = Double(bitPattern: random.next())
                phases[name] = [0, -0.0, 1, 1e16, 1e-5, 123_456.75, bits.isFinite ? bits : 2].randomElement(
                    using: &random)
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            let general = String(decoding: try encoder.encode(phases), as: UTF8.self)
            #expect(try ReportWriter.json(phases) == general, "seed \(seed)")
        }
    }
}
