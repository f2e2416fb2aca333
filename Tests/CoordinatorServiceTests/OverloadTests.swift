import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import Foundation
import Logging
import Testing

struct OverloadTests {
    /// Nobody works through the queue yet: two reports fit in, the others are refused and counted. What changes plans is not.
    @Test(.timeLimit(.minutes(1))) func reportsAreShedAndPlansAreNot() async throws {
        var limits = Limits()
        limits.queuedReports = 2
        let folder = try TemporaryFolder()
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let processor = ChangeProcessor(store: store, limits: limits, now: { Timestamp.now() }, logger: logger)
        await withTaskGroup(of: Answer.self) { group in
            for sequence in 1...10 {
                group.addTask { await processor.answer(to: .report(Samples.report(sequence: sequence))) }
            }
            for _ in 0..<8 {
                guard case .refused(let error)? = await group.next() else { continue }
                #expect(error.code == .overloaded)
                #expect(error.message.contains("2 reports are queued already (queued reports)"))
            }
            #expect(await processor.shedReports == 8)

            let changes: [ChangeRequest] = [
                .registerRun(Samples.registerRun()), .registerWorker(Samples.registerWorker()),
                .pollPlan(PollPlan(run: "shakespeare", incarnation: 1, revision: 1)),
                .finishRun(Samples.finishRun()),
            ]
            await withTaskGroup(of: Answer.self) { other in
                for change in changes { other.addTask { await processor.answer(to: change) } }
                other.addTask {
                    await processor.run()
                    return .refused(ControlError(.cancelled, "the processor has ended"))
                }
                for _ in changes { #expect(await other.next()?.code != .overloaded) }
                // The two reports that waited had their answer, too.
                for _ in 0..<2 { #expect(await group.next()?.code != .overloaded) }
                await processor.stop()
                #expect(await other.next()?.code == .cancelled)
            }
        }
        try store.close()
    }

    /// Each connection has one request at a time, so that all of them together leave room in the queue.
    @Test func connectionsCannotFillTheQueue() {
        let limits = Limits.standard
        #expect(limits.connections < limits.queuedChanges)
        #expect(limits.queuedReports < limits.queuedChanges)
    }
}

extension Answer {
    fileprivate var code: ControlError.Code? { if case .refused(let error) = self { error.code } else { nil } }
}
