import ExpertParallelism
import ExpertPlacement
import Layers

extension PerformanceSample {
    /// A sample of no step yet.
    init(firstStep: Int, planRevision: Int) {
        self.init(
            firstStep: firstStep, stepCount: 0, planRevision: planRevision, stepSeconds: 0, phaseSeconds: [:],
            bytesSent: 0, tokens: 0, residentBytes: 0)
    }

    /// Adds what this rank measured over one step.
    mutating func add(
        seconds: Double, phases: [Phase: PhaseTimer.Time], work: [ParallelExperts.Work], bytesSent: Int, tokens: Int
    ) {
        stepCount += 1
        stepSeconds += seconds
        for (phase, time) in phases { phaseSeconds[phase.rawValue, default: 0] += time.seconds }
        expertRows = (expertRows ?? 0) + work.reduce(0) { $0 + $1.rows }
        expertWork = (expertWork ?? 0) + work.reduce(0) { $0 + $1.neuronRows }
        self.bytesSent += bytesSent
        self.tokens += tokens
    }

    /// Adds the (token, expert) pairs of one step: those that experts computed, and those that found no place.
    /// - Parameter droppedLoads: [layer][expert]; empty without a capacity.
    mutating func add(expertLoads loads: [[Int]], droppedLoads: [[Int]]) {
        expertLoads = expertLoads.map { $0.adding(loads) } ?? loads
        guard !droppedLoads.isEmpty else { return }
        let dropped = droppedLoads.map { $0.reduce(0, +) }
        droppedTokens = droppedTokens.map { zip($0, dropped).map(+) } ?? dropped
    }

    /// The same with loads for all its steps, as far as those that were skipped would have had the mean of the others.
    /// - Parameter loadedSteps: those whose loads were added.
    func completingLoads(loadedSteps: Int) -> PerformanceSample {
        guard loadedSteps > 0, loadedSteps < stepCount else { return self }
        func complete(_ pairs: Int) -> Int { (pairs * stepCount + loadedSteps / 2) / loadedSteps }
        var sample = self
        sample.expertLoads = expertLoads?.map { $0.map(complete) }
        sample.droppedTokens = droppedTokens?.map(complete)
        return sample
    }
}

extension [[Int]] {
    /// The sum entry by entry with loads of the same shape; either may be empty, which counts as zeros.
    func adding(_ other: [[Int]]) -> [[Int]] {
        if isEmpty { return other }
        if other.isEmpty { return self }
        return zip(self, other).map { zip($0, $1).map { $0 + $1 } }
    }
}
