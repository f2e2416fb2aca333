/// Places every expert by one rule when there is no plan yet, and never moves it.
public struct StaticAllocator: ExpertsAllocator {
    /// The mesh of an expert of width F in a world of W ranks.
    public enum Rule: Hashable, Sendable {
        /// DP 1 × TP min(W, F) over all ranks.
        case tensorParallel
        /// Expert e whole on rank e mod W.
        case expertParallel
        /// DP W × TP 1: whole on every rank.
        case replicated
        /// DP D × TP T on D·T ranks, beginning for expert e at rank e·D·T mod W.
        case grid(dataParallel: Int, tensorParallel: Int)
    }

    public let rule: Rule

    public init(_ rule: Rule) {
        self.rule = rule
    }

    public func collectPerformance(_ sample: PerformanceSample, rank: Int) {}

    public func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        if current != nil { return nil }
        guard cluster.worldSize > 0 else { throw .unsuitableAllocator("a cluster without ranks can hold no expert") }
        try checkRanks(model, worldSize: cluster.worldSize)
        var layers = [LayerPlacement]()
        for widths in model.layers {
            var experts = [ExpertPlacement]()
            for (expert, width) in widths.enumerated() {
                experts.append(
                    try ExpertPlacement(width: width, mesh: mesh(expert: expert, width: width, cluster: cluster)))
            }
            layers.append(LayerPlacement(experts: experts))
        }
        return try PlacementPlan(worldSize: cluster.worldSize, nodes: cluster.nodes, layers: layers)
    }

    /// - Throws: `PlacementError.tooManyRanks` when the meshes would list more ranks than one plan may.
    private func checkRanks(_ model: ExpertModel, worldSize: Int) throws(PlacementError) {
        let experts = model.layers.reduce(0) { $0.saturatingSum($1.count) }
        let each =
            switch rule {
            case .tensorParallel: min(worldSize, model.layers.joined().max() ?? 0)
            case .replicated: worldSize
            case .expertParallel: 1
            case .grid(let dataParallel, let tensorParallel):
                // One that does not fit the world is refused for that.
                dataParallel.multipliedReportingOverflow(by: tensorParallel).overflow
                    ? 1 : min(worldSize, dataParallel * tensorParallel)
            }
        let (ranks, overflow) = experts.multipliedReportingOverflow(by: each)
        guard !overflow, ranks <= PlacementPlan.rankLimit else {
            throw .tooManyRanks(
                "\(experts) experts on \(each) ranks each are over the limit of \(PlacementPlan.rankLimit) of one plan; place "
                    + "each on fewer ranks, such as expert-parallel")
        }
    }

    private func mesh(expert: Int, width: Int, cluster: Cluster) throws(PlacementError) -> DeviceMesh {
        let worldSize = cluster.worldSize
        guard width > 0 else { throw .unsuitableAllocator("an expert needs a neuron, expert \(expert) has \(width)") }
        switch rule {
        case .tensorParallel:
            let shards = min(worldSize, width)
            return try DeviceMesh(dataParallel: 1, tensorParallel: shards, ranks: Array(0..<shards))
        case .expertParallel:
            return try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [expert % worldSize])
        case .replicated:
            return try DeviceMesh(dataParallel: worldSize, tensorParallel: 1, ranks: Array(0..<worldSize))
        case .grid(let dataParallel, let tensorParallel):
            let (count, overflow) = dataParallel.multipliedReportingOverflow(by: tensorParallel)
            guard !overflow, count > 0, count <= worldSize else {
                throw .unsuitableAllocator(
                    "a grid of dp=\(dataParallel),tp=\(tensorParallel) does not fit a world of \(worldSize) ranks; "
                        + "choose D·T ≤ \(worldSize)")
            }
            let ranks = (0..<count).map { (expert * count + $0) % worldSize }
            return try DeviceMesh(dataParallel: dataParallel, tensorParallel: tensorParallel, ranks: ranks)
        }
    }
}
