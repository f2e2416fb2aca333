import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import Foundation
import Testing

/// What the database has of checkpoints.
struct CheckpointRecordTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func request(step: Int, incarnation: Int = 1) -> RecordCheckpoint {
        RecordCheckpoint(
            run: "shakespeare", incarnation: incarnation, step: step, path: "/data/step-\(step)", bytes: 100 + step,
            seconds: 0.5)
    }

    @Test func theyAreListedTheLastFirst() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var limits = Limits.standard
        limits.storedCheckpointsPerRun = 3
        var core = CoordinatorCore(limits: limits)
        func handle(_ request: ChangeRequest, at milliseconds: Int) async throws {
            let actions = core.handle(.requested(request, Ticket(0)), at: Timestamp(milliseconds: Int64(milliseconds)))
            try await store.commit(actions.compactMap { if case .store(let change) = $0 { change } else { nil } })
        }
        try await handle(.registerRun(Samples.registerRun()), at: 1)
        #expect(try await store.checkpoints(ListCheckpoints(), limits: limits).checkpoints.isEmpty)
        for step in [10, 20] { try await handle(.recordCheckpoint(request(step: step)), at: step) }
        try await handle(.registerRun(Samples.registerRun(registration: "b")), at: 30)
        for step in [15, 25] { try await handle(.recordCheckpoint(request(step: step, incarnation: 2)), at: 40 + step) }
        let listed = try await store.checkpoints(ListCheckpoints(run: "shakespeare"), limits: limits)
        #expect(listed.run == "shakespeare" && !listed.truncated)
        // The oldest record has gone.
        #expect(listed.checkpoints.map(\.step) == [25, 15, 20])
        #expect(
            listed.checkpoints.first
                == RecordedCheckpoint(
                    step: 25, incarnation: 2, path: "/data/step-25", bytes: 125, seconds: 0.5,
                    recordedAt: Timestamp(milliseconds: 65)))
        let cut = try await store.checkpoints(ListCheckpoints(limit: 2), limits: limits)
        #expect(cut.checkpoints.map(\.step) == [25, 15] && cut.truncated)
        limits.listedCheckpoints = 1
        #expect(try await store.checkpoints(ListCheckpoints(limit: 2), limits: limits).checkpoints.count == 1)
        #expect(try await store.state(of: "shakespeare")?.checkpointStep == 25)
        #expect(try await store.state(of: "shakespeare") == core.state(of: "shakespeare"))
        try store.close()
    }
}
