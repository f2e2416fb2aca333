import ExpertPlacement

/// Copies the hottest experts of each layer to all ranks, and spreads the others so that the busiest rank has least to do.
struct HottestReplicated: ExpertsAllocator {
    /// Experts of each layer that get a replica on every rank.
    let replicated: Int
    /// Rows of each expert in the last interval, [layer][expert].
    private var loads = [[Int]]()

    init(replicated: Int) {
        self.replicated = replicated
    }

    mutating func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        // Rank 0 counts for all.
        if let counted = sample.expertLoads { loads = counted }
    }

    func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        var layers = [LayerPlacement]()
        for (layer, widths) in model.layers.enumerated() {
            let known = loads.indices.contains(layer) && loads[layer].count == widths.count
            let rows = known ? loads[layer] : [Int](repeating: 1, count: widths.count)
            layers.append(
                try place(widths: widths, rows: rows, ranks: cluster.worldSize, replicated: known ? replicated : 0))
        }
        let plan = try PlacementPlan(worldSize: cluster.worldSize, nodes: cluster.nodes, layers: layers)
        // Nothing to say is nil: a plan like the one in force would move nothing.
        return plan.layers == current?.layers ? nil : plan
    }

    private func place(
        widths: [Int], rows: [Int], ranks: Int, replicated: Int
    ) throws(PlacementError) -> LayerPlacement {
        let hottestFirst = widths.indices.sorted { (rows[$1], $0) < (rows[$0], $1) }
        var work = [Int](repeating: 0, count: ranks)
        var meshes = [Int: DeviceMesh]()
        for (place, expert) in hottestFirst.enumerated() {
            let homes: [Int]
            if place < replicated {
                homes = Array(0..<ranks)
            } else {
                homes = [work.indices.min { (work[$0], $0) < (work[$1], $1) } ?? 0]
            }
            for rank in homes { work[rank] += rows[expert] / homes.count }
            // DP × TP: a row for each replica; an expert is not cut here, so rows have one rank.
            meshes[expert] = try DeviceMesh(dataParallel: homes.count, tensorParallel: 1, ranks: homes)
        }
        var experts = [ExpertPlacement]()
        for (expert, width) in widths.enumerated() {
            guard let mesh = meshes[expert] else { continue }
            experts.append(try ExpertPlacement(width: width, mesh: mesh))
        }
        return LayerPlacement(experts: experts)
    }
}
