import ExpertPlacement
import Traces

/// What a recorded trace tells of its ranks: how long they compute for a row and neuron, and what else a step takes.
struct TraceCalibration {
    /// Seconds that an average rank spends on a row and neuron; nil: the trace has no timings.
    private(set) var neuronSeconds: Double?
    /// Seconds of each rank relative to the average; empty: not known.
    private(set) var slowness = [Double]()
    /// Ranks that were recorded.
    private(set) var worldSize = 0

    private static let expertPhases = [
        PerformanceSample.expertsPhase, PerformanceSample.dispatchPhase, PerformanceSample.combinePhase,
    ]

    /// Reads the whole trace.
    init(path: String) throws(TraceError) {
        var reader = try TraceReader(path: path)
        var seconds = [Int: Double]()
        var work = [Int: Double]()
        while let line = try reader.next() {
            guard case .interval(let interval) = line else { continue }
            // Seconds of steps between which layers switched tell nothing.
            guard let ranks = interval.ranks, interval.planRevision != PerformanceSample.switchingRevision else {
                continue
            }
            for timing in ranks {
                guard let done = timing.expertWork, done > 0,
                    let spent = timing.phaseSeconds[PerformanceSample.expertsPhase], spent > 0
                else { continue }
                seconds[timing.rank, default: 0] += spent * Double(interval.stepCount)
                work[timing.rank, default: 0] += Double(done)
            }
        }
        let (allSeconds, allWork) = (seconds.values.reduce(0, +), work.values.reduce(0, +))
        guard allWork > 0 else { return }
        let mean = allSeconds / allWork
        neuronSeconds = mean
        worldSize = (seconds.keys.max() ?? -1) + 1
        guard (0..<worldSize).allSatisfy({ work[$0] != nil }) else { return }
        slowness = (0..<worldSize).map { seconds[$0, default: 0] / work[$0, default: 1] / mean }
    }

    /// Seconds of a step that do not depend on where experts are: what the ranks measured of all phases but those of the
    /// experts, the mean over ranks; nil: nothing was measured.
    static func denseSeconds(_ interval: TraceInterval) -> Double? {
        guard let ranks = interval.ranks, !ranks.isEmpty else { return nil }
        let sum = ranks.reduce(0.0) { sum, timing in
            sum + timing.stepSeconds - expertPhases.reduce(0) { $0 + timing.phaseSeconds[$1, default: 0] }
        }
        return max(0, sum / Double(ranks.count))
    }
}
