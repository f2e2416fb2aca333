/// The memory that a plan's experts take on a rank.
public enum PlanMemory {
    /// Bytes of weights, gradients and moments on each rank under `plan`, W entries.
    public static func bytes(_ plan: PlacementPlan, hiddenSize: Int, ownership: OwnershipPolicy) -> [Int] {
        var neurons = [Int](repeating: 0, count: plan.worldSize)
        for (layer, placement) in plan.layers.enumerated() {
            for (rank, held) in self.neurons(placement, layer: layer, ownership, plan.worldSize).enumerated() {
                neurons[rank] += held
            }
        }
        return neurons.map { $0 * LayerMigration.neuronBytes(hiddenSize: hiddenSize) }
    }

    /// - Throws: `PlacementError.exceedsMemory` for the first rank on which the plan takes more than its limit.
    public static func check(
        _ plan: PlacementPlan, model: ExpertModel, cluster: Cluster
    ) throws(PlacementError) {
        guard let limits = cluster.memoryLimits else { return }
        let bytes = bytes(plan, hiddenSize: model.hiddenSize, ownership: cluster.ownership)
        for (rank, (bytes, limit)) in zip(bytes, limits).enumerated() where bytes > limit {
            throw .exceedsMemory(
                "rank \(rank) would need \(bytes) bytes for its experts, over its limit of \(limit); raise "
                    + "--memory-limit, use more ranks, or place fewer replicas there")
        }
    }

    /// Weights of so many neurons are what a layer takes on each rank, gradients and moments among them.
    private static func neurons(
        _ placement: LayerPlacement, layer: Int, _ ownership: OwnershipPolicy, _ worldSize: Int
    ) -> [Int] {
        (0..<worldSize).map { rank in
            placement.experts.indices.reduce(0) { sum, expert in
                let held = placement.stateRanges(
                    of: expert, rank: rank, ownership, layer: layer, worldSize: worldSize)
                return sum + 2 * held.weights.reduce(0) { $0 + $1.count } + 2 * held.owned.count
            }
        }
    }
}
