/// The cost model as far as it is known: what was assumed, what was measured at start, and what the reports say.
public struct CostEstimate: Hashable, Sendable {
    /// What holds until it is measured; nil: guessed from the model.
    public var assumed: CostModel?
    public private(set) var speeds = SpeedEstimate()

    /// Seconds that a rank spent on experts in a step under a revision, from a report that does not count its rows.
    private struct Timing: Hashable {
        let rank: Int
        let revision: Int
        let seconds: Double
    }
    private var timings = [Timing]()
    private static let timingLimit = 100_000

    public init(assumed: CostModel? = nil) {
        self.assumed = assumed
    }

    /// Takes a sample into account.
    public mutating func record(_ sample: PerformanceSample, rank: Int) {
        guard sample.stepCount > 0, rank >= 0, rank < Self.timingLimit,
            let seconds = sample.phaseSeconds[PerformanceSample.expertsPhase]
        else { return }
        if let rows = sample.expertRows, let work = sample.expertWork {
            guard sample.planRevision != PerformanceSample.switchingRevision else { return }
            speeds.record(rank: rank, seconds: seconds, rows: Double(rows), work: Double(work))
        } else if timings.count < Self.timingLimit {
            timings.append(
                Timing(rank: rank, revision: sample.planRevision, seconds: seconds / Double(sample.stepCount)))
        }
    }

    /// Holds seconds that came without rows against those that `plan`, in force, sends to each rank.
    /// - Parameter loads: rows of each expert in a step, [layer][expert].
    public mutating func settle(_ plan: PlacementPlan, loads: [[Double]]) {
        defer { timings.removeAll() }
        guard timings.contains(where: { $0.revision == plan.revision }) else { return }
        var work = RankWork(worldSize: plan.worldSize)
        for (layer, loads) in zip(plan.layers, loads) { work.add(layer, loads: loads) }
        for timing in timings where timing.revision == plan.revision && timing.rank < plan.worldSize {
            speeds.record(
                rank: timing.rank, seconds: timing.seconds, rows: work.rows[timing.rank],
                work: work.work[timing.rank])
        }
    }

    /// What things cost on `cluster`.
    public func costs(model: ExpertModel, cluster: Cluster) -> CostModel {
        var costs = assumed ?? .nominal(hiddenSize: model.hiddenSize)
        costs.ownership = cluster.ownership
        if let exchange = cluster.exchange, exchange.isSensible {
            costs.exchangeLatencySeconds = exchange.latencySeconds
            costs.bytesPerSecond = exchange.bytesPerSecond
        }
        let nodes = Set(cluster.nodes).count
        if nodes > 1, let between = cluster.exchangeBetweenNodes, between.isSensible {
            costs.nodeLinks = NodeLinks(nodes: cluster.nodes, exchange: between)
            costs.exchangeLatencySeconds = max(costs.exchangeLatencySeconds, between.latencySeconds)
        }
        return speeds.fitted(costs, worldSize: cluster.worldSize)
    }
}
