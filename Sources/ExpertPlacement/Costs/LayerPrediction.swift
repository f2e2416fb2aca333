/// The seconds of one layer's experts in a step, as the cost model predicts them.
public struct LayerPrediction: Hashable, Sendable {
    /// Seconds of each rank, W entries.
    public let rankSeconds: [Double]

    /// Seconds of the slowest rank were the loads certain.
    public let certainSeconds: Double

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
        // The same on all ranks of a node.
        let exchange =
            costs.nodeLinks == nil
            ? [Double](
                repeating: costs.exchangeSecondsPerRow(hiddenSize: hiddenSize, worldSize: worldSize, rank: 0),
                count: worldSize)
            : (0..<worldSize).map {
                costs.exchangeSecondsPerRow(hiddenSize: hiddenSize, worldSize: worldSize, rank: $0)
            }
        var distances = costs.nodeLinks.map { OwnerDistances($0, costs.ownership) }
        for (expert, placement) in layer.experts.enumerated() {
            let mesh = placement.mesh
            distances?.enter(mesh)
            defer { distances?.leave(mesh) }
            for replica in 0..<mesh.dataParallel {
                let share = placement.fraction(ofReplica: replica)
                for shard in 0..<mesh.tensorParallel {
                    let rank = mesh.rank(replica: replica, shard: shard)
                    let neurons = placement.neurons(ofShard: shard).count
                    let seconds = share * (costs.secondsPerRow(neurons: neurons, rank: rank) + exchange[rank])
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
                        means[rank] += costs.synchronisationSeconds(
                            neurons: neurons - owned, hiddenSize: hiddenSize,
                            far: distances?.farPart(of: rank, shard: shard, in: mesh) ?? 0)
                    }
                }
            }
        }
        // Replicas are kept equal in two exchanges at least, of gradients and of weights, that all ranks wait for.
        let latency = (isSynchronised ? 3 : 1) * costs.exchangeLatencySeconds
        let total = deviations.reduce(0) { $0 + $1 * $1 }
        let others = Double(worldSize) / Double(max(1, worldSize - 1))
        certainSeconds = (means.max() ?? 0) + latency
        rankSeconds = (0..<worldSize).map { rank in
            let known = total > 0 ? covariances[rank] * covariances[rank] / total : 0
            return means[rank] + caution * (others * max(0, variances[rank] - known)).squareRoot() + latency
        }
    }
}

/// How many of the ranks that own what a replica does not are on other nodes.
private struct OwnerDistances {
    private let links: NodeLinks
    private let ownership: OwnershipPolicy
    private let nodeCount: Int
    /// Of the expert at hand its replicas on each node, [shard][node]; zeros between experts.
    private var counts = [Int]()

    init(_ links: NodeLinks, _ ownership: OwnershipPolicy) {
        self.links = links
        self.ownership = ownership
        nodeCount = (links.nodes.max() ?? -1) + 1
    }

    /// Turns to an expert.
    mutating func enter(_ mesh: DeviceMesh) { count(mesh, by: 1) }

    mutating func leave(_ mesh: DeviceMesh) { count(mesh, by: -1) }

    private mutating func count(_ mesh: DeviceMesh, by change: Int) {
        guard ownership == .colocated, mesh.dataParallel > 1 else { return }
        let missing = mesh.tensorParallel * nodeCount - counts.count
        if missing > 0 { counts += [Int](repeating: 0, count: missing) }
        for (index, rank) in mesh.ranks.enumerated() {
            counts[index % mesh.tensorParallel * nodeCount + links.nodes[rank]] += change
        }
    }

    func farPart(of rank: Int, shard: Int, in mesh: DeviceMesh) -> Double {
        switch ownership {
        case .colocated:
            guard mesh.dataParallel > 1 else { return 0 }
            let near = counts[shard * nodeCount + links.nodes[rank]]
            return Double(mesh.dataParallel - near) / Double(mesh.dataParallel - 1)
        case .decoupled:
            let others = links.nodes.count - 1
            return others > 0 ? Double(links.nodes.count - links.neighbours[rank]) / Double(others) : 0
        }
    }
}
