import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import TestSupport
import Testing

/// What is kept, and what goes.
struct RetentionTests {
    @Test func runsThatHaveEndedAreArchivedAndDeleted() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            for run in ["one", "two"] { _ = try await client.send(Samples.registerRun(run)) }
            _ = try await client.send(Samples.registerWorker("one"))
            _ = try await client.send(Samples.report("one"))
            func code(_ request: some ControlRequest) async -> ControlError.Code? {
                do throws(ControlError) { _ = try await client.send(request) } catch { return error.code }
                return nil
            }
            func listed(all: Bool? = nil) async throws -> [String] {
                try await client.send(ListRuns(all: all)).runs.map(\.run).sorted()
            }
            #expect(await code(ArchiveRun(run: "one", who: "ada", why: "old")) == .conflict)
            #expect(await code(DeleteRun(run: "one", who: "ada", why: "old")) == .conflict)
            #expect(await code(DeleteRun(run: "three", who: "ada", why: "old")) == .unknownRun)

            _ = try await client.send(Samples.finishRun("one"))
            _ = try await client.send(ArchiveRun(run: "one", dryRun: true, who: "ada", why: "old"))
            #expect(try await listed() == ["one", "two"])
            let archived = try await client.send(ArchiveRun(run: "one", who: "ada", why: "old"))
            #expect(try await client.send(ArchiveRun(run: "one", who: "bob", why: "twice")) == archived)
            #expect(try await listed() == ["two"])
            #expect(try await listed(all: true) == ["one", "two"])
            let shown = try await client.send(ShowRun(run: "one"))
            #expect(shown.summary.archivedAt == archived.archivedAt)
            #expect(shown.events.first?.kind == .runArchived && shown.events.first?.who == "operator ada")

            let holdings = RunDeleted(run: "one", incarnations: 1, plans: 1, reports: 1, loads: 1, events: 4)
            #expect(try await client.send(DeleteRun(run: "one", dryRun: true, who: "ada", why: "old")) == holdings)
            #expect(try await listed(all: true) == ["one", "two"])
            #expect(try await client.send(DeleteRun(run: "one", who: "ada", why: "old")) == holdings)
            #expect(try await listed(all: true) == ["two"])
            #expect(await code(ShowRun(run: "one")) == .unknownRun)
            #expect(await code(Samples.report("one", sequence: 2)) == .unknownRun)
            // Of it stay who deleted it, and the numbers that its workers may still have.
            let left = try await coordinator.store.queue.read { db in
                try String.fetchAll(
                    db,
                    sql: """
                        SELECT name || ' ' || who || ' ' || why || ' ' || used_revision || ' ' || used_incarnation FROM deleted_runs
                        """)
            }
            #expect(left == ["one operator ada old 1 1"])
            let again = try await client.send(Samples.registerRun("one"))
            #expect(again.incarnation == 2 && again.plan.revision == 2)
            #expect(await code(Samples.report("one", sequence: 2)) == .staleIncarnation)
        }
    }

    /// Who follows a run by its name asks for what came after the last number.
    @Test func numbersGoOnAfterADeletion() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            func start(incarnation: Int) async throws {
                _ = try await client.send(Samples.registerRun(registration: "a\(incarnation)"))
                _ = try await client.send(Samples.registerWorker(incarnation: incarnation))
                for sequence in 1...3 {
                    let sample = Samples.sample(firstStep: 10 * sequence, loads: [[1, 2, 3], [4, 5, 6]], loss: 2.5)
                    _ = try await client.send(
                        Samples.report(incarnation: incarnation, sequence: sequence, sample: sample))
                }
            }
            try await start(incarnation: 1)
            _ = try await client.send(Samples.finishRun())
            let event = try #require(try await client.send(ListEvents()).events.last?.number)
            let intervals = try await client.send(ListIntervals()).intervals.map(\.number)
            #expect(intervals == [1, 2, 3])
            _ = try await client.send(DeleteRun(run: "shakespeare", who: "ada", why: "old"))
            try await start(incarnation: 2)
            let events = try await client.send(ListEvents(after: event)).events
            #expect(events.map(\.event.kind) == [.runRegistered, .planActivated])
            #expect(try await client.send(ListIntervals(after: 3)).intervals.map(\.number) == [4, 5, 6])
            #expect(try await client.send(ListLoads(after: 3)).loads.map(\.number) == [4, 5, 6])
            // As it is restored from the database.
            let state = try await coordinator.store.state(of: "shakespeare")
            #expect(state?.reportCount == 6)
        }
    }

    /// Others get their turn between the parts, and nothing is heard of the run meanwhile.
    @Test(arguments: [false, true]) func aLargeRunIsDeletedInParts(isStopping: Bool) async throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try await store.commit(Self.start("large") + (1...200).map { Self.report("large", $0, at: 5) })
        try await store.commit([.endIncarnation(Samples.finishRun("large"), at: Timestamp(milliseconds: 6))])
        let log = CollectedLog()
        let processor = ChangeProcessor(store: store, limits: .standard, now: { Timestamp.now() }, logger: log.logger)
        let commits = Commits()
        store.queue.add(transactionObserver: commits, extent: .observerLifetime)
        let deletion = Task { await processor.delete(DeleteRun(run: "large", who: "ada", why: "old")) }
        // The deletion is waited for, whatever happens.
        await #expect(throws: Never.self) {
            try await eventually("the deletion is queued") { () async in await processor.queuedChanges >= 1 }
        }
        let requests = [
            ChangeRequest.registerRun(Samples.registerRun("large", registration: "b")),
            .deleteRun(DeleteRun(run: "large", who: "bob", why: "twice")),
        ]
        for request in requests {
            guard case .refused(let error) = await processor.answer(to: request) else {
                Issue.record("\(request) was taken")
                continue
            }
            #expect(error.code == .overloaded && error.message.contains("run large is being deleted"))
        }
        if isStopping { processor.beginStopping() }
        let work = Task { await processor.run() }
        let answer = await deletion.value
        await processor.stop()
        await work.value
        let runs = try await store.runs(limits: .standard).runs.map(\.run)
        if isStopping {
            guard case .refused(let error) = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(error.code == .overloaded && error.message.contains("is not deleted yet"))
            #expect(runs == ["large"])
        } else {
            #expect(answer == .acknowledged(Acknowledged()))
            #expect(runs == [])
            // Four of 64 loads each, four of reports, and one of the rest; SQLite may count those that find nothing.
            #expect(commits.count >= 9, "\(commits.count)")
        }
        try store.close()
    }

    /// Of plans with megabytes, too; without the placements of those that are active or in flight there is no run to ask for again.
    @Test func placementsGoInParts() async throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        func plan(_ revision: Int, _ state: PlanState) throws -> Change {
            .addPlan(
                PlanRecord(
                    run: "large", incarnation: 1, plan: try Samples.shiftedPlan(by: 0).with(revision: revision),
                    state: state, origin: .planner, who: "a", why: "b", at: Timestamp(milliseconds: 1)))
        }
        let past: [PlanState] = [.superseded, .rejected, .withdrawn, .abandoned, .superseded]
        try await store.commit(Self.start("large") + [plan(7, .applying)])
        try await store.commit(past.enumerated().map { try plan(2 + $0.offset, $0.element) })
        var parts = 0
        while try await store.dropPart(of: "large", rows: 2) { parts += 1 }
        #expect(parts == 3)
        let left = try await store.queue.read { db in
            try Int.fetchAll(db, sql: "SELECT revision FROM placements ORDER BY revision")
        }
        #expect(left == [1, 7])
        let state = try await store.state(of: "large")
        #expect(state?.plan.revision == 1 && state?.planInFlight?.plan.revision == 7)
        try store.close()
    }

    /// What the database refuses after a part has gone is told as such, and what is left can be deleted.
    @Test(arguments: ["loads", "reports", "runs"]) func aDeletionThatFailsInTheMiddle(table: String) async throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try await store.commit(Self.start("large") + [Self.report("large", 1, at: 5)])
        try await store.commit([.endIncarnation(Samples.finishRun("large"), at: Timestamp(milliseconds: 6))])
        let request = DeleteRun(run: "large", who: "ada", why: "old")
        try await store.queue.write { db in
            try db.execute(
                sql: "CREATE TRIGGER broken BEFORE DELETE ON \(table) BEGIN SELECT RAISE(ABORT, 'broken'); END")
        }
        let answer = try await StoreWorkload.withProcessor(store) { await $0.delete(request) }
        guard case .refused(let error) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(error.code == .storageUnavailable)
        #expect(error.message.contains("run large is deleted in part") == (table != "loads"), "\(error.message)")
        #expect(error.message.contains("nothing was changed") == (table == "loads"), "\(error.message)")
        try await store.queue.write { db in try db.execute(sql: "DROP TRIGGER broken") }
        let again = try await StoreWorkload.withProcessor(store) { await $0.delete(request) }
        #expect(again == .acknowledged(Acknowledged()))
        #expect(try await store.runs(limits: .standard).runs.isEmpty)
        try store.close()
    }

    /// A further start brings an archived run back.
    @Test func aStartEndsTheArchive() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.finishRun())
            _ = try await client.send(Samples.registerWorker())
            _ = try await client.send(ArchiveRun(run: "shakespeare", who: "ada", why: "old"))
            // Who names no run does not mean one that was put away.
            #expect(try await client.send(ListWorkers()).workers == [])
            #expect(try await client.send(ListWorkers(run: "shakespeare")).workers.count == 1)
            await #expect(throws: ControlError.self) { try await client.send(ShowPlacement()) }
            _ = try await client.send(Samples.registerRun(registration: "a2"))
            #expect(try await client.send(ListRuns()).runs.map(\.archivedAt) == [nil])
            #expect(try await client.send(ShowPlacement()).run == "shakespeare")
        }
    }

    /// Nobody says of a job that was killed that it ended.
    @Test func silentRunsCountAsEnded() async throws {
        var limits = Limits()
        limits.silentTime = .zero
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(ArchiveRun(run: "shakespeare", who: "ada", why: "killed"))
            _ = try await client.send(DeleteRun(run: "shakespeare", who: "ada", why: "killed"))
            #expect(try await client.send(ListRuns(all: true)).runs == [])
        }
    }

    /// It was silent for long, not over.
    @Test func runsWhoseRanksSpeakAgainAreShownAgain() async throws {
        var limits = Limits()
        limits.silentTime = .zero
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            let archive = ArchiveRun(run: "shakespeare", who: "ada", why: "silent")
            let poll = PollPlan(run: "shakespeare", incarnation: 1, revision: 1)
            func isListed() async throws -> Bool {
                let listed = try await client.send(ListRuns()).runs
                let all = try await client.send(ListRuns(all: true)).runs
                #expect((all.first?.archivedAt == nil) == (listed.count == 1))
                return listed.count == 1
            }
            for round in 1...2 {
                _ = try await client.send(archive)
                #expect(try await !isListed())
                if round == 1 { _ = try await client.send(poll) } else { _ = try await client.send(Samples.report()) }
                #expect(try await isListed())
                let events = try await client.send(ShowRun(run: "shakespeare")).events.filter {
                    $0.kind == .runBroughtBack && $0.who == "ranks"
                }
                #expect(events.count == round)
            }
            // One that said that it ended stays put away.
            _ = try await client.send(Samples.finishRun())
            _ = try await client.send(archive)
            _ = try await client.send(Samples.report(sequence: 2))
            #expect(try await !isListed())
        }
    }

    @Test func oldReportsGoAndLoadsStay() async throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        for run in ["one", "two"] {
            try await store.commit(Self.start(run))
            try await store.commit((1...60).map { Self.report(run, $0, at: Int64($0)) })
        }
        #expect(try await store.dropReports(before: Timestamp(milliseconds: 41), batch: 7) == 80)
        let rest = try await store.queue.read { db in
            try ["count(*) FROM reports", "min(number) FROM reports", "count(*) FROM loads"].map {
                try Int.fetchOne(db, sql: "SELECT " + $0)
            }
        }
        #expect(rest == [40, 41, 120])
        #expect(try await store.dropReports(before: Timestamp(milliseconds: 41), batch: 7) == 0)
        try store.close()
    }

    /// What is deleted makes room for what comes.
    @Test func theFileDoesNotGrowForEver() async throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var pages = [Int]()
        for round in 1...5 {
            let run = "round-\(round)"
            try await store.commit(Self.start(run))
            for batch in 0..<10 {
                try await store.commit((1...500).map { Self.report(run, batch * 500 + $0, at: 5) })
            }
            try await store.commit([
                .deleteRun(
                    DeleteRun(run: run, who: "ada", why: "old"), used: UsedNumbers(revision: 1, incarnation: 1),
                    at: Timestamp(milliseconds: 9))
            ])
            pages.append(try await store.queue.read { db in try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0 })
        }
        #expect(pages[0] > 100)
        #expect(pages.allSatisfy { $0 <= pages[0] + 8 }, "\(pages)")
        // The log does not, either: it begins anew when all of it is in the database.
        let log = try FileManager.default.attributesOfItem(atPath: folder.path("moe.db-wal"))[.size] as? Int
        #expect(log ?? .max < 32 << 20)
        try store.close()
    }

    private static func start(_ run: String) throws -> [Change] {
        let time = Timestamp(milliseconds: 0)
        let registration = Samples.registerRun(run)
        return [
            .putRun(registration, incarnation: 1, at: time), .addIncarnation(registration, number: 1, at: time),
            .addPlan(
                PlanRecord(
                    run: run, incarnation: 1, plan: try Samples.shiftedPlan(by: 0).with(revision: 1), state: .active,
                    who: "a", why: "b", at: time)),
            .putWorker(Samples.registerWorker(run), at: time),
        ]
    }

    private static func report(_ run: String, _ number: Int, at milliseconds: Int64) -> Change {
        var window = SequenceWindow()
        window.apply(number)
        return .addReport(
            Samples.report(run, sequence: number), number: number, window: window,
            at: Timestamp(milliseconds: milliseconds))
    }
}

extension PlacementPlan {
    fileprivate func with(revision: Int) -> PlacementPlan {
        var plan = self
        plan.revision = revision
        return plan
    }
}
