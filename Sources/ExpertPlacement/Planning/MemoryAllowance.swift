extension PlanMemory {
    /// `cluster` with the limits that an allocator may fill with experts, so that there is room left for buffers, and for
    /// both ends of a migration.
    ///
    /// While an expert moves, its new rank holds weights and moments and its old one has given up gradients only, so a rank
    /// whose experts of a layer are all exchanged needs half of that layer besides.
    /// - Parameter loads: largest forecast rows of each expert in a step, [layer][expert]; nil: not known.
    public static func allowance(
        model: ExpertModel, cluster: Cluster, loads: [[Double]]?, chunkBytes: Int = defaultChunkBytes
    ) -> Cluster {
        guard let limits = cluster.memoryLimits, !model.layers.isEmpty else { return cluster }
        let buffers = bufferBytes(model: model, worldSize: cluster.worldSize, loads: loads)
        let layers = model.layers.count
        var cluster = cluster
        cluster.memoryLimits = limits.map { limit in
            let left = max(0, limit - buffers - 2 * chunkBytes)
            return cluster.ownership == .colocated ? left / (2 * layers + 1) * 2 * layers : left
        }
        return cluster
    }

    /// Bytes of the buffers of a rank that gets half as many rows again as its share: ranks are not alike, and rows scatter.
    private static func bufferBytes(model: ExpertModel, worldSize: Int, loads: [[Double]]?) -> Int {
        guard let loads, loads.map(\.count) == model.layers.map(\.count) else { return 0 }
        let value = Double(MemoryLayout<Float>.stride)
        var kept = 0.0
        var working = 0.0
        for (widths, loads) in zip(model.layers, loads) {
            let share = 1.5 * loads.reduce(0, +) / Double(worldSize)
            let (hidden, width) = (Double(model.hiddenSize), Double(widths.max() ?? 0))
            kept += value * share * 2 * (hidden + width)
            working = max(working, value * share * (2 * hidden + width))
        }
        return Int(bytes: kept + working)
    }
}
