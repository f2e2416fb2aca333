import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import TestSupport
import Testing

struct PlanLifeTests {
    private struct Memory: PlanLifeDatabase {
        var run = RunModel()

        mutating func commit(_ changes: [Change], state: RunState?) {
            for change in changes { run.apply(change) }
            #expect(run.state == state)
        }

        func state(of run: String) -> RunState? { self.run.state }
    }

    @Test func thePromisesHoldInEverySchedule() async throws {
        let seed = TestRuns.seed()
        var arrows = [PlanLedger.Arrow: Int]()
        for schedule in 0..<600 {
            var life = PlanLife(Memory(), seed: seed &+ UInt64(schedule))
            let problems = try await life.play(events: 150)
            #expect(problems.isEmpty, "seed \(seed), schedule \(schedule): \(problems)")
            let ledger = life.ledger
            arrows.merge(ledger.arrows) { $0 + $1 }
        }
        // The schedules reach all there is.
        #expect(Set(arrows.keys) == PlanLedger.allArrows, "seed \(seed): \(arrows)")
    }

    @Test func statesGoWhereTheDesignSays() {
        for from in PlanState.allCases {
            for to in PlanState.allCases {
                let isKnown = PlanLedger.allArrows.contains { $0.description == "\(from.rawValue) to \(to.rawValue)" }
                #expect(from.allows(to) == isKnown, "\(from) to \(to)")
            }
        }
    }
}
