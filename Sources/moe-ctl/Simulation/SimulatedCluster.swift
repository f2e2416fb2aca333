import ExpertPlacement
import Listings
import Traces

/// Ranks on which policies are tried, and how they fare.
struct SimulatedCluster {
    let cluster: Cluster
    let costs: CostModel
    let hiddenSize: Int
    let options: PlacementSimulation.Options
    /// Times the trace's tokens that a step has.
    let tokens: Double
    private(set) var policies: [SimulatedPolicy]
    private var intervals = 0
    /// What a step takes beside its experts, the mean over the steps that count, and how many these are.
    private var denseSeconds = 0.0
    private var denseSteps = 0.0

    init(
        cluster: Cluster, costs: CostModel, hiddenSize: Int, options: PlacementSimulation.Options, tokens: Double,
        policies: [SimulatedPolicy]
    ) {
        self.cluster = cluster
        self.costs = costs
        self.hiddenSize = hiddenSize
        self.options = options
        self.tokens = tokens
        self.policies = policies
    }

    var ranks: Int { cluster.worldSize }
    var nodes: Int { Set(cluster.nodes).count }
    var operationsPerSecond: Double { CostModel.rowOperations(hiddenSize: hiddenSize) / costs.neuronSeconds }
    var assumptions: SimulationAssumptions { SimulationAssumptions(self, denseSeconds: denseSeconds) }

    /// What totals are over.
    /// - Parameter intervals: of the trace that were replayed.
    static func extent(of points: [SimulatedCluster], intervals: Int) -> String {
        let steps = points.flatMap(\.policies).map(\.totals.steps).max() ?? 0
        let warmUp = points[0].options.warmUpIntervals
        return "\(steps) steps in \(intervals - warmUp) intervals" + (warmUp > 0 ? ", after \(warmUp) of warm-up" : "")
    }

    /// - Parameter denseSeconds: of all ranks together, for the trace's tokens.
    mutating func advance(_ interval: TraceInterval, denseSeconds: Double) {
        // More rows than a trace may have are as many as that.
        let loads =
            tokens == 1
            ? interval.expertLoads
            : interval.expertLoads.map { $0.map { Int(min((Double($0) * tokens).rounded(), 1e15)) } }
        let seconds = denseSeconds * tokens / Double(ranks)
        intervals += 1
        if intervals > options.warmUpIntervals {
            denseSteps += Double(interval.stepCount)
            self.denseSeconds += (seconds - self.denseSeconds) * (Double(interval.stepCount) / denseSteps)
        }
        for index in policies.indices {
            policies[index].advance(
                SimulatedInterval(
                    firstStep: interval.firstStep, stepCount: interval.stepCount, expertLoads: loads,
                    denseSeconds: seconds))
        }
    }

    /// - Parameter several: whether it has to be said which ranks it was on.
    func reportFailures(several: Bool) {
        for policy in policies {
            guard let failure = policy.failure else { continue }
            let place = several ? " on \(ranks) ranks" : ""
            StandardError.write("Note: \(policy.policy) ends\(place): \(failure)")
        }
    }
}
