extension PlanMemory {
    /// Asks an allocator, which leaves room for buffers and moves as far as there is any.
    /// - Parameters:
    ///   - current: the plan in force; nil before the first.
    ///   - loads: as in `allowance`.
    package static func allocate(
        with allocator: inout any ExpertsAllocator, current: PlacementPlan?, model: ExpertModel, cluster: Cluster,
        loads: [[Double]]?, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        var limited = allowance(model: model, cluster: cluster, loads: loads)
        if let current { limited = holding(current, model: model, cluster: cluster, allowance: limited) }
        if let least = limited.memoryLimits, let most = cluster.memoryLimits, limited != cluster {
            for part in 0..<4 {
                var attempt = allocator
                limited.memoryLimits = zip(least, most).map { $0 + ($1 - $0) / 4 * part }
                do {
                    let plan = try attempt.allocateExperts(current: current, model: model, cluster: limited, step: step)
                    allocator = attempt
                    return plan
                } catch PlacementError.programFailed(let reason) {
                    // Other limits would not help, and a program may have taken long.
                    throw .programFailed(reason)
                } catch { continue }  // It may be too little; with all there is, the error counts.
            }
        }
        return try allocator.allocateExperts(current: current, model: model, cluster: cluster, step: step)
    }

    /// `allowance` with what a plan in force takes that is within the ranks' own limits: that there is little room besides is
    /// no reason for it to go.
    private static func holding(
        _ current: PlacementPlan, model: ExpertModel, cluster: Cluster, allowance: Cluster
    ) -> Cluster {
        guard let limits = allowance.memoryLimits, (try? check(current, model: model, cluster: cluster)) != nil else {
            return allowance
        }
        let held = bytes(current, hiddenSize: model.hiddenSize, ownership: cluster.ownership)
        var allowance = allowance
        allowance.memoryLimits = zip(limits, held).map { max($0, $1) }
        return allowance
    }

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
