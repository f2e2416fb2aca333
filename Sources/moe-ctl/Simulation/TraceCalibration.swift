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
    /// Intervals in all, and those of which no rank's seconds are there.
    private(set) var intervals = 0
    private(set) var unmeasured = 0
    /// Ranks of each start of the run: not all of them may have reported every interval.
    private var ranks = [Int: Int]()
    /// The mean over the steps that were measured, as `denseSeconds`; nil: none were.
    private(set) var meanDenseSeconds: Double?

    private static let expertPhases = [
        PerformanceSample.expertsPhase, PerformanceSample.dispatchPhase, PerformanceSample.combinePhase,
    ]

    /// Reads the whole trace.
    init(path: String) throws(TraceError) {
        var reader = try TraceReader(path: path)
        var seconds = [Int: Double]()
        var work = [Int: Double]()
        // Per rank and step, by start of the run, and of how many steps.
        var dense = [Int: (seconds: Double, steps: Double)]()
        while let line = try reader.next() {
            guard case .interval(let interval) = line else { continue }
            intervals += 1
            guard let timings = interval.ranks, !timings.isEmpty else {
                unmeasured += 1
                continue
            }
            let highest = timings.reduce(0) { max($0, $1.rank) }
            ranks[interval.incarnation] = max(ranks[interval.incarnation, default: 0], highest + 1)
            // Seconds of steps between which layers switched tell nothing.
            guard interval.planRevision != PerformanceSample.switchingRevision else { continue }
            let steps = Double(interval.stepCount)
            let old = dense[interval.incarnation, default: (0, 0)]
            dense[interval.incarnation] = (
                old.seconds + Self.denseSeconds(of: timings) * steps, old.steps + steps
            )
            for timing in timings {
                guard let done = timing.expertWork, done > 0,
                    let spent = timing.phaseSeconds[PerformanceSample.expertsPhase], spent > 0
                else { continue }
                seconds[timing.rank, default: 0] += spent * steps
                work[timing.rank, default: 0] += Double(done)
            }
        }
        // Sums in the order of keys, since a dictionary's own is another one in every process.
        let starts = dense.sorted { $0.key < $1.key }
        let steps = starts.reduce(0) { $0 + $1.value.steps }
        if steps > 0 {
            meanDenseSeconds = starts.reduce(0) { $0 + $1.value.seconds * Double(ranks[$1.key, default: 1]) } / steps
        }
        let measured = seconds.keys.sorted()
        let (allSeconds, allWork) = measured.reduce((0.0, 0.0)) {
            ($0.0 + seconds[$1, default: 0], $0.1 + work[$1, default: 0])
        }
        guard allWork > 0 else { return }
        let mean = allSeconds / allWork
        neuronSeconds = mean
        worldSize = (measured.last ?? -1) + 1
        guard measured.count == worldSize else { return }
        slowness = measured.map { seconds[$0, default: 0] / work[$0, default: 1] / mean }
    }

    /// Seconds of a step that do not depend on where experts are, of all ranks together: what they measured of all phases
    /// but those of the experts. Where no rank did, or layers switched, the mean of the trace; nil: nothing was measured.
    func denseSeconds(_ interval: TraceInterval) -> Double? {
        guard let timings = interval.ranks, !timings.isEmpty,
            interval.planRevision != PerformanceSample.switchingRevision
        else { return meanDenseSeconds }
        return Self.denseSeconds(of: timings) * Double(ranks[interval.incarnation, default: 1])
    }

    /// Of one rank: the mean.
    private static func denseSeconds(of timings: [TraceInterval.RankTiming]) -> Double {
        let sum = timings.reduce(0.0) { sum, timing in
            sum + timing.stepSeconds - expertPhases.reduce(0) { $0 + timing.phaseSeconds[$1, default: 0] }
        }
        return max(0, sum / Double(timings.count))
    }

    /// What is to be said of a recorded run whose reports are not all there; nil: nothing.
    var note: String? {
        guard unmeasured > 0 else { return nil }
        let missing =
            "\(unmeasured) of \(intervals) intervals tell no seconds of the ranks, whose reports were not kept"
        guard meanDenseSeconds != nil else {
            return "\(missing), and no other does: steps are those of the experts alone; give --dense-seconds"
        }
        return "\(missing): what is not the experts' takes there what it takes in the others on average"
    }
}
