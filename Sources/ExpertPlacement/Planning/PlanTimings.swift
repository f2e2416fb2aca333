/// What the ranks measured of their experts under the last plans: for each, in the last interval.
struct PlanTimings: Sendable {
    let intervalSteps: Int
    let worldSize: Int
    /// The last three plans under which anything was reported, oldest first.
    private var plans = [Plan]()
    private var observedRevision = 0

    private struct Plan {
        let revision: Int
        /// By rank.
        var windows = [Int: Window]()
    }

    init(intervalSteps: Int, worldSize: Int) {
        self.intervalSteps = intervalSteps
        self.worldSize = worldSize
    }

    mutating func record(_ sample: PerformanceSample, rank: Int) {
        // What was measured while layers switched tells of no plan.
        guard sample.stepCount > 0, sample.planRevision > 0,
            let experts = sample.phaseSeconds[PerformanceSample.expertsPhase]
        else { return }
        let exchange =
            sample.phaseSeconds[PerformanceSample.dispatchPhase, default: 0]
            + sample.phaseSeconds[PerformanceSample.combinePhase, default: 0]
        if sample.planRevision > plans.last?.revision ?? -1 {
            plans = plans.suffix(2) + [Plan(revision: sample.planRevision)]
        }
        let timing = Timing(steps: sample.stepCount, experts: experts, seconds: experts + exchange)
        for index in plans.indices where plans[index].revision == sample.planRevision {
            plans[index].windows[rank, default: Window()].add(timing, intervalSteps: intervalSteps)
        }
    }

    /// What changed with each plan of which that is known since the last call. Of the plan in force all ranks have to have
    /// reported a whole interval, of one that was replaced, and of the one before, anything.
    mutating func observations() -> [(revision: Int, observation: PlanObservation)] {
        var observations = [(revision: Int, observation: PlanObservation)]()
        for (before, after) in zip(plans, plans.dropFirst()) where after.revision > observedRevision {
            let isReplaced = after.revision != plans.last?.revision
            guard let old = windows(of: before, leastSteps: 1),
                let new = windows(of: after, leastSteps: isReplaced ? 1 : intervalSteps)
            else { continue }
            let observation = PlanObservation(
                secondsBefore: Self.slowest(old), secondsAfter: Self.slowest(new), balanceBefore: Self.balance(old),
                balanceAfter: Self.balance(new))
            observations.append((after.revision, observation))
            observedRevision = after.revision
        }
        return observations
    }

    /// Those of all ranks; nil: some rank has reported less than `leastSteps`.
    private func windows(of plan: Plan, leastSteps: Int) -> [Window]? {
        let windows = (0..<worldSize).compactMap { plan.windows[$0] }.filter { $0.steps >= leastSteps }
        return windows.count == worldSize ? windows : nil
    }

    private static func slowest(_ windows: [Window]) -> Double { windows.map(\.secondsPerStep).max() ?? 0 }

    private static func balance(_ windows: [Window]) -> Double {
        let seconds = windows.map(\.expertsPerStep)
        let largest = seconds.max() ?? 0
        return largest > 0 ? seconds.reduce(0, +) / Double(seconds.count) / largest : 1
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
