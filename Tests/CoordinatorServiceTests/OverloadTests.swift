import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import Foundation
import GRDB
import Logging
import TestSupport
import Testing

struct OverloadTests {
    /// Nobody works through the queue at first: two reports fit in, the others are refused and counted. What changes plans is not.
    @Test func reportsAreShedAndPlansAreNot() async throws {
        var limits = Limits()
        limits.queuedReports = 2
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let log = CollectedLog()
        let processor = ChangeProcessor(
            store: store, limits: limits, now: { Timestamp.now() }, logger: log.logger)
        let changes: [ChangeRequest] = [
            .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker()),
            .pollPlan(PollPlan(run: "shakespeare", incarnation: 1, revision: 1)), .finishRun(Samples.finishRun()),
        ]
        let requests = (1...10).map { ChangeRequest.report(Samples.report(sequence: $0)) } + changes
        let answers = await withTaskGroup(of: Answer.self) { group in
            for request in requests { group.addTask { await processor.answer(to: request) } }
            // What is queued is waited for, whatever happens.
            await #expect(throws: Never.self) {
                try await eventually("all are queued or refused") {
                    await processor.queuedChanges + processor.shedReports == requests.count
                }
            }
            #expect(await processor.shedReports == 8)
            #expect(await processor.queuedChanges == 2 + changes.count)
            let work = Task { await processor.run() }
            var answers = [Answer]()
            for await answer in group { answers.append(answer) }
            await processor.stop()
            await work.value
            return answers
        }
        let refusals = answers.compactMap { answer -> ControlError? in
            if case .refused(let error) = answer, error.code == .overloaded { error } else { nil }
        }
        #expect(refusals.count == 8)
        #expect(refusals.allSatisfy { $0.message.contains("2 reports are queued already (queued reports)") })
        // Once for all of them.
        #expect(
            log.lines == [
                "warning reports are refused: too many wait for the database limit=2",
                "notice reports are taken again refused=8",
            ])
        try store.close()
    }

    /// Nobody works through the queue at first: five changes fit in, and go two by two.
    @Test func onlySoManyChangesAreQueuedAndCommittedTogether() async throws {
        var limits = Limits()
        limits.queuedChanges = 5
        limits.changesPerCommit = 2
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        let commits = Commits()
        store.queue.add(transactionObserver: commits, extent: .observerLifetime)
        let processor = ChangeProcessor(
            store: store, limits: limits, now: { Timestamp.now() },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        await withTaskGroup(of: Answer.self) { group in
            for run in 1...7 {
                group.addTask { await processor.answer(to: .registerRun(Samples.registerRun("run-\(run)"))) }
            }
            for _ in 1...2 {
                guard case .refused(let error)? = await group.next() else {
                    Issue.record("more than five changes are queued")
                    continue
                }
                #expect(error.code == .overloaded)
                #expect(error.message.contains("5 changes are queued already (queued changes)"))
            }
            await #expect(throws: Never.self) {
                try await eventually("five are queued") { await processor.queuedChanges == 5 }
            }
            let work = Task { await processor.run() }
            for await answer in group {
                guard case .runRegistered = answer else {
                    Issue.record("\(answer)")
                    continue
                }
            }
            await processor.stop()
            await work.value
        }
        #expect(commits.count == 3)
        try store.close()
    }

    /// Each connection has one request at a time, so that all of them together leave room in the queue.
    @Test func connectionsCannotFillTheQueue() {
        let limits = Limits.standard
        #expect(limits.connections < limits.queuedChanges)
        #expect(limits.queuedReports < limits.queuedChanges)
    }

    /// Each rank reports over a connection of its own, and rank 0 asks for plans over another; operators come beside them.
    @Test func theLargestWorldMayConnect() {
        let limits = Limits.standard
        #expect(limits.connections > limits.worldSize + 1_000)
    }
}
