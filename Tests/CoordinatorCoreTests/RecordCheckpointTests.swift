import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import Testing

struct RecordCheckpointTests {
    private let noon = Timestamp(milliseconds: 43_200_000)

    private func record(
        _ core: inout CoordinatorCore, step: Int, incarnation: Int = 1
    ) -> (changes: [Change], error: ControlError?) {
        let request = RecordCheckpoint(
            run: "shakespeare", incarnation: incarnation, step: step, path: "/data/step-\(step)", bytes: 7, seconds: 0.5
        )
        let actions = core.handle(.requested(.recordCheckpoint(request), Ticket(1)), at: noon)
        if case .answer(_, .refused(let error)) = actions.last { return (actions.changes, error) }
        return (actions.changes, nil)
    }

    /// Once for each step, whatever is repeated or late.
    @Test func checkpointsAreRecordedOnce() {
        var core = CoordinatorCore()
        #expect(record(&core, step: 10).error?.code == .unknownRun)
        _ = core.handle(.requested(.registerRun(Samples.registerRun()), Ticket(0)), at: noon)
        #expect(record(&core, step: 10).changes.count == 2)
        for step in [10, 5] {
            let again = record(&core, step: step)
            #expect(again.changes.isEmpty && again.error == nil)
        }
        #expect(record(&core, step: 20).changes.count == 2)
        // Another start may go on from an earlier one.
        _ = core.handle(.requested(.registerRun(Samples.registerRun(registration: "b")), Ticket(0)), at: noon)
        #expect(record(&core, step: 30).error?.code == .staleIncarnation)
        #expect(record(&core, step: 15, incarnation: 2).changes.count == 2)
    }
}
