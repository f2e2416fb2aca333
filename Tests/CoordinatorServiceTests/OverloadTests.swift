import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import Foundation
import Logging
import Testing

struct OverloadTests {
    /// Nobody works through the queue at first: two reports fit in, the others are refused and counted. What changes plans is not.
    @Test func reportsAreShedAndPlansAreNot() async throws {
        var limits = Limits()
        limits.queuedReports = 2
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let processor = ChangeProcessor(store: store, limits: limits, now: { Timestamp.now() }, logger: logger)
        let changes: [ChangeRequest] = [
            .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker()),
            .pollPlan(PollPlan(run: "shakespeare", incarnation: 1, revision: 1)), .finishRun(Samples.finishRun()),
        ]
        let requests = (1...10).map { ChangeRequest.report(Samples.report(sequence: $0)) } + changes
        let answers = await withTaskGroup(of: Answer.self) { group in
            for request in requests { group.addTask { await processor.answer(to: request) } }
            while await processor.queuedChanges + processor.shedReports < requests.count { await Task.yield() }
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
        try store.close()
    }

    /// Each connection has one request at a time, so that all of them together leave room in the queue.
    @Test func connectionsCannotFillTheQueue() {
        let limits = Limits.standard
        #expect(limits.connections < limits.queuedChanges)
        #expect(limits.queuedReports < limits.queuedChanges)
    }
}
