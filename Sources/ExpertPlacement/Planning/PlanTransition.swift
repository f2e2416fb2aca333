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

    /// The layers that cannot change because a rank would need more than its limit, while they move or in the steps after,
    /// with the reasons; the others are assumed to change without them. A rank that is over its limit already may be so until
    /// it has got rid of its experts.
    mutating func obstacles(limits: [Int]) -> [(layer: Int, reason: PlacementError)] {
        var held = limits.indices.map { rank in old.reduce(0) { $0 + $1[rank] } }
        let allowed = limits.enumerated().map { rank, limit in
            PlanMemory.allowance(limit, now: held[rank].saturatingSum(buffers.bytes(of: rank)))
        }
        let moving = Set(order.filter { !migration.layers[$0].movedExperts.isEmpty })
        // What moves nothing switches first, and all at once.
        var obstacles = divideRows(of: order.filter { !moving.contains($0) }, held: held, allowed: allowed)
        for layer in order where moving.contains(layer) {
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

    /// Gives the rows of layers in which nothing moves to replicas as the new plan does.
    /// - Returns: those that stay as they are, until no rank takes more than its limit: the layers that gave such a rank most.
    private mutating func divideRows(
        of layers: [Int], held: [Int], allowed: [Int]
    ) -> [(layer: Int, reason: PlacementError)] {
        var changed = layers.filter { migration.layers[$0].source.experts != migration.layers[$0].target.experts }
        for layer in changed { buffers.replace(layer, by: migration.layers[layer].target, loads: loads) }
        var obstacles = [(layer: Int, reason: PlacementError)]()
        while let excess = excess(held: held, allowed: allowed) {
            let without = changed.map { layer in
                var buffers = buffers
                buffers.replace(layer, by: migration.layers[layer].source, loads: loads)
                return buffers
            }
            let bytes = without.map { $0.bytes(of: excess.rank) }
            guard let most = bytes.indices.min(by: { bytes[$0] < bytes[$1] }) else { break }
            buffers = without[most]
            obstacles.append((changed.remove(at: most), excess.reason))
        }
        return obstacles
    }

    /// The first rank that takes more than its limit.
    private func excess(held: [Int], allowed: [Int]) -> (rank: Int, reason: PlacementError)? {
        for (rank, limit) in allowed.enumerated() {
            do {
                try PlanMemory.compare(
                    held[rank].saturatingSum(buffers.bytes(of: rank)), limit, rank: rank, when: "and their rows")
            } catch {
                return (rank, error)
            }
        }
        return nil
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
