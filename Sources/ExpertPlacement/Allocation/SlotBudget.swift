/// How many whole experts of a layer each rank has room for.
public enum SlotBudget {
    /// Bytes of a whole expert of `neurons` on one rank: weights, gradients, and at most the whole optimizer state where
    /// that is kept with the expert.
    public static func expertBytes(neurons: Int, hiddenSize: Int, costs: CostModel) -> Int {
        2 * costs.replicaBytes(neurons: neurons, hiddenSize: hiddenSize)
            + (costs.ownership == .colocated ? costs.homeBytes(neurons: neurons, hiddenSize: hiddenSize) : 0)
    }

    /// Slots of each rank in layer `layer`. Every expert counts as its layer's widest, and a rank's memory is divided over the
    /// layers by what all their experts take so, what is left over going to other layers on other ranks.
    /// - Parameter fixed: slots of every rank in a layer, when chosen by hand; more than there are experts are of no use.
    ///   Otherwise memory decides; without a limit there is room for every expert twice.
    /// - Throws: `PlacementError.unsuitableAllocator` when the limits do not fit the ranks.
    public static func slots(
        layer: Int, model: ExpertModel, cluster: Cluster, fixed: Int?, costs: CostModel
    ) throws(PlacementError) -> [Int] {
        let experts = model.layers[layer].count
        let worldSize = cluster.worldSize
        let wanted = min(experts, fixed ?? everyExpertTwice(experts, worldSize: worldSize))
        guard let limits = cluster.memoryLimits else { return [Int](repeating: wanted, count: worldSize) }
        guard limits.count == worldSize, limits.allSatisfy({ $0 >= 0 }) else {
            throw .unsuitableAllocator(
                "memory limits \(limits) must have an entry from 0 for each of \(worldSize) ranks")
        }
        var costs = costs
        costs.ownership = cluster.ownership
        let spread = spreadBytes(model: model, worldSize: worldSize, costs: costs)
        let shares = LayerShares(model, costs: costs)
        var last: (limit: Int, division: LayerShares.Division)?
        return limits.enumerated().map { rank, limit in
            // Most ranks have as much memory.
            let division = last?.limit == limit ? last?.division : nil
            let divided = division ?? shares.divide(max(0, limit - spread))
            last = (limit, divided)
            let room = shares.slots(layer: layer, rank: rank, of: divided)
            return min(experts, fixed ?? room, room)
        }
    }

    /// Slots of each rank in each layer, [layer][rank], where a plan is in force. As long as that fits in memory, a rank may
    /// go on to hold more of a layer than its part of the memory is for, since it holds less of others; it gets no more of
    /// any then.
    static func slots(
        holding current: PlacementPlan, model: ExpertModel, cluster: Cluster, fixed: Int?, costs: CostModel
    ) throws(PlacementError) -> [[Int]] {
        var slots = [[Int]]()
        for layer in model.layers.indices {
            slots.append(try Self.slots(layer: layer, model: model, cluster: cluster, fixed: fixed, costs: costs))
        }
        guard (try? PlanMemory.check(current, model: model, cluster: cluster)) != nil else { return slots }
        let held = zip(current.layers, model.layers).map { placement, widths in
            placement.heldExperts(worldSize: cluster.worldSize).map {
                min(fixed ?? widths.count, Int(($0 - LayerPlacement.heldError).rounded(.up)))
            }
        }
        let isLimited = cluster.memoryLimits != nil
        for rank in 0..<cluster.worldSize where slots.indices.contains(where: { held[$0][rank] > slots[$0][rank] }) {
            for layer in slots.indices {
                slots[layer][rank] = max(held[layer][rank], isLimited ? 0 : slots[layer][rank])
            }
        }
        return slots
    }

    /// Slots of each rank with which there is room for every expert twice.
    static func everyExpertTwice(_ experts: Int, worldSize: Int) -> Int {
        2 * ((experts + worldSize - 1) / worldSize)
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

extension LayerPlacement {
    /// What rounding may add to a sum of parts of experts.
    static let heldError = 1e-9

    /// Experts on each rank, a shard counting as the part of one that it is.
    func heldExperts(worldSize: Int) -> [Double] {
        var held = [Double](repeating: 0, count: worldSize)
        for expert in experts {
            for resident in expert.residents {
                held[resident.rank] += Double(resident.neurons.count) / Double(max(1, expert.width))
            }
        }
        return held
    }

    /// Whether ranks hold no more than their slots.
    func fits(_ slots: [Int]) -> Bool {
        zip(heldExperts(worldSize: slots.count), slots).allSatisfy { $0 <= Double($1) + Self.heldError }
    }
}

/// How a rank's memory is divided over the layers.
private struct LayerShares {
    /// Bytes of each layer's widest expert.
    private let slotBytes: [Int]
    /// Each layer's part of the memory, and the sum.
    private let weights: [Int]
    private let total: Int

    struct Division {
        /// Slots of each layer in its part, and the bytes that are left over.
        var slots: [Int]
        var rest: Int
    }

    init(_ model: ExpertModel, costs: CostModel) {
        let widest = model.layers.map { $0.max() ?? 0 }
        slotBytes = widest.map {
            max(1, SlotBudget.expertBytes(neurons: $0, hiddenSize: model.hiddenSize, costs: costs))
        }
        weights = zip(model.layers, widest).map { $0.count.saturatingProduct($1) }
        total = max(1, weights.reduce(0) { $0.saturatingSum($1) })
    }

    func divide(_ bytes: Int) -> Division {
        var division = Division(slots: [], rest: bytes)
        for (slot, weight) in zip(slotBytes, weights) {
            let part = total.dividingFullWidth(bytes.multipliedFullWidth(by: weight)).quotient
            division.slots.append(part / slot)
            division.rest -= part / slot * slot
        }
        return division
    }

    func slots(layer: Int, rank: Int, of division: Division) -> Int {
        let count = slotBytes.count
        var rest = division.rest
        // Each rank begins with another layer.
        var next = (count - rank % count) % count
        while next != layer {
            if slotBytes[next] <= rest { rest -= slotBytes[next] }
            next = (next + 1) % count
        }
        return division.slots[layer] + (slotBytes[layer] <= rest ? 1 : 0)
    }
}
