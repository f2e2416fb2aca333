/// The memory that a plan's experts take on each rank: resident weights and gradients, owned master weights and moments,
/// buffers of dispatched rows at the largest load forecast, and on the way to the plan what is being moved.
public enum PlanMemory {
    /// What a rank sends, and receives, in one exchange of a migration, unless the trainer says otherwise: large enough to
    /// hide what an exchange costs, small enough for checksums to find it in a cache.
    public static let defaultChunkBytes = 8 << 20

    /// Bytes of weights, gradients and moments on each rank under `plan`, W entries.
    public static func bytes(_ plan: PlacementPlan, hiddenSize: Int, ownership: OwnershipPolicy) -> [Int] {
        var neurons = [Int](repeating: 0, count: plan.worldSize)
        for (layer, placement) in plan.layers.enumerated() {
            add(placement, layer: layer, ownership, to: &neurons)
        }
        return neurons.map { $0 * LayerMigration.neuronBytes(hiddenSize: hiddenSize) }
    }

    /// - Parameters:
    ///   - current: the plan in force, so that every mixture of the two on the way is checked as well; nil: `plan` is the
    ///     first.
    ///   - loads: largest forecast rows of each expert in a step, [layer][expert]; nil: buffers are not counted. With them a
    ///     rank may be over its limit if it takes as much under `current`.
    /// - Throws: `PlacementError.exceedsMemory` for the first rank whose limit does not hold; `.invalidPlan` when the plans
    ///   are not for the same ranks and experts.
    public static func check(
        _ plan: PlacementPlan, from current: PlacementPlan? = nil, model: ExpertModel, cluster: Cluster,
        loads: [[Double]]? = nil, chunkBytes: Int = defaultChunkBytes
    ) throws(PlacementError) {
        guard let limits = cluster.memoryLimits else { return }
        try plan.validate(for: model, worldSize: cluster.worldSize)
        if let current { try current.validate(for: model, worldSize: cluster.worldSize) }
        guard limits.count == cluster.worldSize else {
            throw .unsuitableAllocator("\(limits.count) memory limits for \(cluster.worldSize) ranks; give one a rank")
        }
        let state = bytes(plan, hiddenSize: model.hiddenSize, ownership: cluster.ownership)
        for (rank, limit) in limits.enumerated() { try compare(state[rank], limit, rank: rank, when: "under the plan") }
        // Rows have to be computed somewhere: a plan under which a rank takes hardly more than now is no reason to stay.
        let buffers = DispatchBuffers(plan.layers, loads: loads, model: model, worldSize: plan.worldSize)
        let now = current.map { total($0, model: model, ownership: cluster.ownership, loads: loads) }
        for (rank, limit) in limits.enumerated() {
            let allowed = allowance(limit, now: now?[rank] ?? 0)
            try compare(state[rank].saturatingSum(buffers.bytes(of: rank)), allowed, rank: rank, when: "and their rows")
        }
        guard let current else { return }
        var transition = try PlanTransition(
            from: current, to: plan, model: model, ownership: cluster.ownership, loads: loads, chunkBytes: chunkBytes)
        if let obstacle = transition.obstacles(limits: limits).first { throw obstacle.reason }
    }

    /// `plan` without the layers that cannot move there within the limits, which stay as they are under `current`.
    /// - Parameters: as in `check`.
    public static func reachable(
        _ plan: PlacementPlan, from current: PlacementPlan, model: ExpertModel, cluster: Cluster, loads: [[Double]]?,
        chunkBytes: Int = defaultChunkBytes
    ) throws(PlacementError) -> PlacementPlan {
        guard let limits = cluster.memoryLimits, limits.count == plan.worldSize else { return plan }
        var transition = try PlanTransition(
            from: current, to: plan, model: model, ownership: cluster.ownership, loads: loads, chunkBytes: chunkBytes)
        let obstacles = transition.obstacles(limits: limits)
        if obstacles.isEmpty { return plan }
        var layers = plan.layers
        for obstacle in obstacles {
            layers[obstacle.layer] = LayerPlacement(experts: current.layers[obstacle.layer].experts)
        }
        return try PlacementPlan(worldSize: plan.worldSize, nodes: plan.nodes, layers: layers)
    }

    /// What a rank may take with its rows: one that is over its limit now, a little more than now, since rows scatter.
    static func allowance(_ limit: Int, now: Int) -> Int { now > limit ? now.saturatingSum(now / 100) : limit }

    /// With buffers.
    private static func total(
        _ plan: PlacementPlan, model: ExpertModel, ownership: OwnershipPolicy, loads: [[Double]]?
    ) -> [Int] {
        let buffers = DispatchBuffers(plan.layers, loads: loads, model: model, worldSize: plan.worldSize)
        return bytes(plan, hiddenSize: model.hiddenSize, ownership: ownership).enumerated().map {
            $1.saturatingSum(buffers.bytes(of: $0))
        }
    }

    static func compare(_ bytes: Int, _ limit: Int, rank: Int, when: String) throws(PlacementError) {
        guard bytes > limit else { return }
        throw .exceedsMemory(
            "rank \(rank) would need \(bytes) bytes for its experts \(when), over its limit of \(limit); raise "
                + "--memory-limit, use more ranks, or let this rank hold fewer experts")
    }

    /// Adds what a layer takes on each rank, in neurons' weights: for each that a rank computes with or owns a weight and a
    /// gradient, and two moments where it owns.
    static func add(
        _ placement: LayerPlacement, layer: Int, _ ownership: OwnershipPolicy, to neurons: inout [Int]
    ) {
        for (expert, placement) in placement.experts.enumerated() {
            for resident in placement.residents { neurons[resident.rank] += 2 * resident.neurons.count }
            let owners = placement.owners(ownership, layer: layer, expert: expert, worldSize: neurons.count)
            for owner in owners {
                neurons[owner.rank] += 2 * owner.neurons.count
                guard ownership == .decoupled else { continue }
                let resident = placement.residentNeurons(of: owner.rank) ?? 0..<0
                neurons[owner.rank] += 2 * (owner.neurons.count - owner.neurons.clamped(to: resident).count)
            }
        }
    }
}

extension PlacementPlan {
    /// The plan, which was made elsewhere or earlier, on the ranks of `cluster`: the meshes stay, the nodes are those where the ranks
    /// are now.
    /// - Throws: `PlacementError` when it was not made for `model` and as many ranks, or does not fit their memory.
    public func adapted(to model: ExpertModel, cluster: Cluster) throws(PlacementError) -> PlacementPlan {
        try validate(for: model, worldSize: cluster.worldSize)
        let plan = try PlacementPlan(
            revision: revision, worldSize: worldSize, nodes: cluster.nodes, layers: layers)
        try PlanMemory.check(plan, model: model, cluster: cluster)
        return plan
    }
}
