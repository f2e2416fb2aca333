/// How many whole experts of a layer each rank has room for.
public enum SlotBudget {
    /// Bytes of a whole expert of `neurons` on one rank: weights, gradients, and at most the whole optimizer state where
    /// that is kept with the expert.
    public static func expertBytes(neurons: Int, hiddenSize: Int, costs: CostModel) -> Int {
        2 * costs.replicaBytes(neurons: neurons, hiddenSize: hiddenSize)
            + (costs.ownership == .colocated ? costs.homeBytes(neurons: neurons, hiddenSize: hiddenSize) : 0)
    }

    /// Slots of each rank in layer `layer`. Every expert counts as the model's widest, and a rank's memory is divided
    /// over the layers evenly, what is left over going to other layers on other ranks.
    /// - Parameter fixed: slots of every rank in a layer, when chosen by hand; more than there are experts are of no use.
    ///   Otherwise memory decides; without a limit there is room for every expert twice.
    /// - Throws: `PlacementError.unsuitableAllocator` when the limits do not fit the ranks.
    public static func slots(
        layer: Int, model: ExpertModel, cluster: Cluster, fixed: Int?, costs: CostModel
    ) throws(PlacementError) -> [Int] {
        let experts = model.layers[layer].count
        let worldSize = cluster.worldSize
        let wanted = min(experts, fixed ?? 2 * ((experts + worldSize - 1) / worldSize))
        guard let limits = cluster.memoryLimits else { return [Int](repeating: wanted, count: worldSize) }
        guard limits.count == worldSize, limits.allSatisfy({ $0 >= 0 }) else {
            throw .unsuitableAllocator(
                "memory limits \(limits) must have an entry from 0 for each of \(worldSize) ranks")
        }
        var costs = costs
        costs.ownership = cluster.ownership
        let spread = spreadBytes(model: model, worldSize: worldSize, costs: costs)
        let widest = model.layers.joined().max() ?? 0
        let bytes = max(1, expertBytes(neurons: widest, hiddenSize: model.hiddenSize, costs: costs))
        return limits.enumerated().map { rank, limit in
            let (each, rest) = (max(0, limit - spread) / bytes).quotientAndRemainder(dividingBy: model.layers.count)
            let room = each + ((layer + rank) % model.layers.count < rest ? 1 : 0)
            return min(experts, fixed ?? room, room)
        }
    }

    /// Bytes that a rank owns, at most, of optimizer state that is spread over all ranks, with master weights and their
    /// gradients, which an expert that is resident as well has in common with it.
    private static func spreadBytes(model: ExpertModel, worldSize: Int, costs: CostModel) -> Int {
        guard costs.ownership == .decoupled else { return 0 }
        let neurons = model.layers.joined().reduce(0) { $0 + ($1 + worldSize - 1) / worldSize }
        return 2 * costs.replicaBytes(neurons: neurons, hiddenSize: model.hiddenSize)
            + costs.homeBytes(neurons: neurons, hiddenSize: model.hiddenSize)
    }
}
