import ControlTestSupport
import TestSupport
import Testing

struct SimulationTests {
    private struct Totals: Sendable {
        var acknowledgements = 0
        var staleRequests = 0
        var deletions = 0
        var revivals = 0
        var faults = [String: Int]()
        var arrows = [PlanLedger.Arrow: Int]()
        var problems = [String]()
    }

    /// `MOE_SEED` is the seed of the first schedule; the next ones count up from it.
    @Test func thePromisesHoldInEverySchedule() async {
        let seed = TestRuns.seed()
        let schedules = TestRuns.count(10_000, soak: 400_000)
        let threads = 4
        let totals = await withTaskGroup(of: Totals.self) { group in
            for thread in 0..<threads {
                group.addTask {
                    var totals = Totals()
                    for schedule in stride(from: thread, to: schedules, by: threads) where totals.problems.count < 3 {
                        Self.play(seed &+ UInt64(schedule), &totals)
                    }
                    return totals
                }
            }
            return await group.reduce(into: Totals()) { all, part in
                all.acknowledgements += part.acknowledgements
                all.staleRequests += part.staleRequests
                all.deletions += part.deletions
                all.revivals += part.revivals
                all.faults.merge(part.faults) { $0 + $1 }
                all.arrows.merge(part.arrows) { $0 + $1 }
                all.problems += part.problems
            }
        }
        #expect(totals.problems.isEmpty, "\(totals.problems.prefix(3).joined(separator: "\n"))")
        print(
            "\(schedules) schedules: \(totals.acknowledgements) acknowledgements, \(totals.staleRequests) stale requests, "
                + "\(totals.deletions) deletions, \(totals.revivals) runs started again after one, faults \(totals.faults)"
        )
        guard totals.problems.isEmpty else { return }
        // The schedules reach all there is.
        #expect(Set(totals.arrows.keys) == PlanLedger.allArrows)
        #expect(Set(totals.faults.keys) == Simulation.allFaults)
        #expect(totals.acknowledgements > schedules && totals.staleRequests > schedules / 10)
        #expect(totals.deletions > schedules / 20 && totals.revivals > schedules / 50)
    }

    private static func play(_ seed: UInt64, _ totals: inout Totals) {
        var simulation = Simulation(seed: seed)
        totals.problems += simulation.play(events: 400).prefix(2).map { "seed \(seed): \($0)" }
        totals.acknowledgements += simulation.acknowledgements
        totals.staleRequests += simulation.staleRequests
        totals.deletions += simulation.deletions
        totals.revivals += simulation.revivals
        totals.faults.merge(simulation.faults) { $0 + $1 }
        totals.arrows.merge(simulation.arrows) { $0 + $1 }
    }
}
