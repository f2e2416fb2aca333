/// The seconds of one layer's experts in a step, as the cost model predicts them.
public struct LayerPrediction: Hashable, Sendable {
    /// Seconds of each rank, W entries.
    public let rankSeconds: [Double]

    /// The step waits for the slowest rank.
    public var seconds: Double { rankSeconds.max() ?? 0 }

    /// Mean over slowest: 1 is perfect.
    public var balance: Double {
        seconds > 0 ? rankSeconds.reduce(0, +) / Double(rankSeconds.count) / seconds : 1
    }

    /// - Parameters:
    ///   - loads: rows of each expert in a step.
    ///   - layer: index of the layer among those with experts.
    ///   - deviations: standard deviations of their errors, which have nothing to do with each other but that they add up to
    ///     nothing: a step has as many rows whatever their experts are. `caution` deviations of a rank's seconds are added
    ///     to its mean, by what the errors make of the difference between ranks: each of two has half of its variance.
    ///     A placement that is even whatever the loads are has no risk.
    public init(
        _ layer: LayerPlacement, loads: [Double], deviations: [Double], caution: Double, costs: CostModel,
        hiddenSize: Int, worldSize: Int, layer index: Int = 0
    ) {
        var means = [Double](repeating: 0, count: worldSize)
        var variances = means
        // Covariances of the ranks' seconds with the sum of all errors, were it not known.
        var covariances = means
        var isSynchronised = false
        let exchange = costs.exchangeSecondsPerRow(hiddenSize: hiddenSize, worldSize: worldSize)
        for (expert, placement) in layer.experts.enumerated() {
            let mesh = placement.mesh
            for replica in 0..<mesh.dataParallel {
                let share = placement.fraction(ofReplica: replica)
                for shard in 0..<mesh.tensorParallel {
                    let rank = mesh.rank(replica: replica, shard: shard)
                    let neurons = placement.neurons(ofShard: shard).count
                    let seconds = share * (costs.secondsPerRow(neurons: neurons, rank: rank) + exchange)
                    means[rank] += seconds * loads[expert]
                    let variance = deviations[expert] * deviations[expert]
                    variances[rank] += seconds * seconds * variance
                    covariances[rank] += seconds * variance
                    let owned: Int
                    switch costs.ownership {
                    case .colocated: owned = evenPart(replica, of: mesh.dataParallel, in: 0..<neurons).count
                    case .decoupled:
                        owned =
                            placement.ownedNeurons(
                                of: rank, .decoupled, layer: index, expert: expert, worldSize: worldSize
                            ).clamped(to: placement.neurons(ofShard: shard)).count
                    }
                    if owned < neurons {
                        isSynchronised = true
                        means[rank] += costs.synchronisationSeconds(neurons: neurons - owned, hiddenSize: hiddenSize)
                    }
                }
            }
        }
        // Replicas are kept equal in two exchanges at least, of gradients and of weights, that all ranks wait for.
        let latency = (isSynchronised ? 3 : 1) * costs.exchangeLatencySeconds
        let total = deviations.reduce(0) { $0 + $1 * $1 }
        let others = Double(worldSize) / Double(max(1, worldSize - 1))
        rankSeconds = (0..<worldSize).map { rank in
            let known = total > 0 ? covariances[rank] * covariances[rank] / total : 0
            return means[rank] + caution * (others * max(0, variances[rank] - known)).squareRoot() + latency
        }
    }
}
