import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import Synchronization
import Testing

struct RestartTests {
    /// A clock that is set forth and back by decades between any two looks at it.
    private final class WrongClock: Sendable {
        private let looks = Atomic(0)

        func now() -> Timestamp {
            let look = looks.add(1, ordering: .relaxed).oldValue
            return Timestamp(milliseconds: [50, 150, 1, 51][look % 4] * 31_536_000_000)
        }
    }

    /// The coordinator starts again and again, and its clock tells it anything: that ends no run, no worker and no plan.
    @Test func nobodyExpiresByTheClockOrARestart() async throws {
        let folder = try TemporaryFolder()
        let clock = WrongClock()
        for start in 1...4 {
            try await LiveCoordinator.run(database: folder.path("moe.db"), now: clock.now) { coordinator in
                let client = try await coordinator.client()
                if start == 1 { try await Self.begin(client) }
                // All of it as before: the same start, the worker, the plan that waits.
                #expect(try await client.send(Samples.registerRun()).incarnation == 1)
                let report = Samples.report(sequence: start, sample: Samples.sample())
                #expect(try await client.send(report).sequence == start)
                let offer = try await client.send(PollPlan(run: "shakespeare", incarnation: 1, revision: 1))
                #expect(offer.plan?.revision == 2)
                client.close()
            }
        }
    }

    private static func begin(_ client: ControlClient) async throws {
        _ = try await client.send(Samples.registerRun())
        _ = try await client.send(Samples.registerWorker())
        let proposal = try ProposePlacement(
            run: "shakespeare", plan: Samples.shiftedPlan(by: 1, worldSize: 2), who: "ada", why: "test")
        #expect(try await client.send(proposal).revision == 2)
    }
}
