/// The way from one plan to another, layer by layer in the order of `MigrationSchedule`, as far as memory is concerned.
struct PlanTransition {
    private let migration: Migration
    private let order: [Int]
    private let hiddenSize: Int
    private let chunkBytes: Int
    private let loads: [[Double]]?
    /// Bytes of each layer's weights, gradients and moments, [layer][rank].
    private let old: [[Int]]
    private let new: [[Int]]
    private var buffers: DispatchBuffers

    init(
        from current: PlacementPlan, to plan: PlacementPlan, model: ExpertModel, ownership: OwnershipPolicy,
        loads: [[Double]]?, chunkBytes: Int
    ) throws(PlacementError) {
        migration = try Migration(from: current, to: plan, ownership: ownership)
        hiddenSize = model.hiddenSize
        self.chunkBytes = chunkBytes
        self.loads = loads
        order = MigrationSchedule(migration, hiddenSize: model.hiddenSize).layersByStep.flatMap { $0 }
        func bytes(_ plan: PlacementPlan) -> [[Int]] {
            plan.layers.enumerated().map { layer, placement in
                var neurons = [Int](repeating: 0, count: plan.worldSize)
                PlanMemory.add(placement, layer: layer, ownership, to: &neurons)
                return neurons.map { $0 * LayerMigration.neuronBytes(hiddenSize: model.hiddenSize) }
            }
        }
        old = bytes(current)
        new = bytes(plan)
        buffers = DispatchBuffers(current.layers, loads: loads, model: model, worldSize: plan.worldSize)
    }

    /// The layers that cannot move because a rank would need more than its limit, while they move or in the steps after,
    /// with the reasons; the others are assumed to move without them. A rank that is over its limit already may be so until
    /// it has got rid of its experts.
    mutating func obstacles(limits: [Int]) -> [(layer: Int, reason: PlacementError)] {
        var held = limits.indices.map { rank in old.reduce(0) { $0 + $1[rank] } }
        let allowed = limits.enumerated().map { rank, limit in
            PlanMemory.allowance(limit, now: held[rank].saturatingSum(buffers.bytes(of: rank)))
        }
        var obstacles = [(layer: Int, reason: PlacementError)]()
        for layer in order where !migration.layers[layer].movedExperts.isEmpty {
            let (heldBefore, buffersBefore) = (held, buffers)
            do {
                try move(layer, held: &held, allowed: allowed)
            } catch {
                obstacles.append((layer, error))
                (held, buffers) = (heldBefore, buffersBefore)
            }
        }
        return obstacles
    }

    private mutating func move(_ layer: Int, held: inout [Int], allowed: [Int]) throws(PlacementError) {
        let moving = migration.layers[layer]
        buffers.replace(layer, by: moving.target, loads: loads)
        var peaks: [Int]?
        for (rank, limit) in allowed.enumerated() {
            let others = held[rank] - old[layer][rank]
            // What moves takes at most this; the exact figure is dearer to compute and seldom needed.
            let neuron = LayerMigration.neuronBytes(hiddenSize: hiddenSize)
            let bound = old[layer][rank] + new[layer][rank] + 2 * max(chunkBytes, neuron)
            if others + bound > limit {
                let known = peaks ?? moving.peakBytes(hiddenSize: hiddenSize, chunkBytes: chunkBytes)
                peaks = known
                try PlanMemory.compare(others + known[rank], limit, rank: rank, when: "while layer \(layer) moves")
            }
            held[rank] = others + new[layer][rank]
            try PlanMemory.compare(
                held[rank].saturatingSum(buffers.bytes(of: rank)), limit, rank: rank,
                when: "once layer \(layer) has moved")
        }
    }
}
