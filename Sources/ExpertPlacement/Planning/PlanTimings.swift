/// What the ranks measured of their experts in the last interval under the plan in force, and under the one before it.
struct PlanTimings: Sendable {
    let intervalSteps: Int
    private(set) var revision: Int?
    private var previous: Int?
    /// By rank.
    private var present = [Int: Window]()
    private var past = [Int: Window]()

    init(intervalSteps: Int) {
        self.intervalSteps = intervalSteps
    }

    mutating func record(_ sample: PerformanceSample, rank: Int) {
        guard sample.stepCount > 0, let experts = sample.phaseSeconds[PerformanceSample.expertsPhase] else { return }
        let exchange =
            sample.phaseSeconds[PerformanceSample.dispatchPhase, default: 0]
            + sample.phaseSeconds[PerformanceSample.combinePhase, default: 0]
        if sample.planRevision > revision ?? -1 {
            (previous, past) = (revision, present)
            (revision, present) = (sample.planRevision, [:])
        }
        let timing = Timing(steps: sample.stepCount, experts: experts, seconds: experts + exchange)
        if sample.planRevision == revision {
            present[rank, default: Window()].add(timing, intervalSteps: intervalSteps)
        } else if sample.planRevision == previous {
            past[rank, default: Window()].add(timing, intervalSteps: intervalSteps)
        }
    }

    /// What changed with the plan in force; nil: some rank has not reported a whole interval under it, or anything under
    /// the plan before.
    func observation(worldSize: Int) -> PlanObservation? {
        let ranks = 0..<worldSize
        let (before, after) = (ranks.compactMap { past[$0] }, ranks.compactMap { present[$0] })
        guard before.count == worldSize, after.count == worldSize, after.allSatisfy({ $0.steps >= intervalSteps })
        else { return nil }
        func slowest(_ windows: [Window]) -> Double { windows.map(\.secondsPerStep).max() ?? 0 }
        func balance(_ windows: [Window]) -> Double {
            let seconds = windows.map(\.expertsPerStep)
            let largest = seconds.max() ?? 0
            return largest > 0 ? seconds.reduce(0, +) / Double(seconds.count) / largest : 1
        }
        return PlanObservation(
            secondsBefore: slowest(before), secondsAfter: slowest(after), balanceBefore: balance(before),
            balanceAfter: balance(after))
    }

    private struct Timing {
        let steps: Int
        /// Seconds of all the steps: in the experts, and with dispatch and combine.
        let experts: Double
        let seconds: Double
    }

    /// The last reports of a rank that together are of one interval or a little more.
    private struct Window {
        private var timings = [Timing]()
        private(set) var steps = 0

        mutating func add(_ timing: Timing, intervalSteps: Int) {
            timings.append(timing)
            steps += timing.steps
            while let first = timings.first, steps - first.steps >= intervalSteps {
                steps -= first.steps
                timings.removeFirst()
            }
        }

        var secondsPerStep: Double { timings.reduce(0) { $0 + $1.seconds } / Double(max(1, steps)) }
        var expertsPerStep: Double { timings.reduce(0) { $0 + $1.experts } / Double(max(1, steps)) }
    }
}
