import ExpertPlacement
import Listings
import Traces

/// Ranks on which policies are tried, and how they fare.
struct SimulatedCluster {
    let cluster: Cluster
    let costs: CostModel
    /// Times the trace's tokens that a step has.
    let tokens: Double
    private(set) var policies: [SimulatedPolicy]

    init(cluster: Cluster, costs: CostModel, tokens: Double, policies: [SimulatedPolicy]) {
        self.cluster = cluster
        self.costs = costs
        self.tokens = tokens
        self.policies = policies
    }

    var ranks: Int { cluster.worldSize }
    var nodes: Int { Set(cluster.nodes).count }

    /// - Parameter denseSeconds: of all ranks together, for the trace's tokens.
    mutating func advance(_ interval: TraceInterval, denseSeconds: Double) {
        // More rows than a trace may have are as many as that.
        let loads =
            tokens == 1
            ? interval.expertLoads
            : interval.expertLoads.map { $0.map { Int(min((Double($0) * tokens).rounded(), 1e15)) } }
        for index in policies.indices {
            policies[index].advance(
                SimulatedInterval(
                    firstStep: interval.firstStep, stepCount: interval.stepCount, expertLoads: loads,
                    denseSeconds: denseSeconds * tokens / Double(ranks)))
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
