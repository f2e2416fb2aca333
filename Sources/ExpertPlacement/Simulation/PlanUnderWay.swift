/// A plan whose layers switch before one step after the other, in a simulation.
struct PlanUnderWay {
    let plan: PlacementPlan
    private let current: PlacementPlan
    private let model: ExpertModel
    private let ownership: OwnershipPolicy
    /// Layers that switch before the next step, the one after it, and so on.
    private(set) var batches: [[Int]]
    private(set) var bytes = 0
    private(set) var seconds = 0.0

    init(
        _ plan: PlacementPlan, from current: PlacementPlan, model: ExpertModel, ownership: OwnershipPolicy,
        budgetBytes: Int?
    ) {
        self.plan = plan
        self.current = current
        self.model = model
        self.ownership = ownership
        let bytes = zip(current.layers, plan.layers).enumerated().map { layer, placements in
            PlacementChange(
                from: placements.0, to: placements.1, worldSize: plan.worldSize, ownership: ownership, layer: layer
            ).bytes(hiddenSize: model.hiddenSize)
        }
        batches = MigrationSchedule(bytes: bytes, budgetBytes: budgetBytes).layersByStep
    }

    var isComplete: Bool { batches.isEmpty }

    /// The layers that switch before the next step, and what that takes.
    mutating func advance(_ costs: CostModel) throws(PlacementError) -> (layers: [Int], bytes: Int, seconds: Double) {
        let layers = batches.removeFirst()
        var sum = (layers: layers, bytes: 0, seconds: 0.0)
        for layer in layers {
            let move = try LayerMigration(
                layer: layer, from: current.layers[layer], to: plan.layers[layer], ownership: ownership,
                nodes: plan.nodes)
            let cost = move.cost(costs, hiddenSize: model.hiddenSize)
            sum.bytes += cost.bytes
            sum.seconds += cost.seconds
        }
        bytes += sum.bytes
        seconds += sum.seconds
        return sum
    }
}

extension LayerMigration {
    /// Bytes of this layer's move, all ranks together, and its seconds: the rank that sends or receives for longest is waited
    /// for.
    func cost(_ costs: CostModel, hiddenSize: Int) -> (bytes: Int, seconds: Double) {
        let nodes = costs.nodeLinks?.nodes
        let near = 1 / costs.bytesPerSecond
        let far = 1 / (costs.nodeLinks?.exchange.bytesPerSecond ?? costs.bytesPerSecond)
        var sent = [Double](repeating: 0, count: worldSize)
        var received = sent
        var neurons = 0
        for (transfers, parts) in [(weights, 1), (moments, 2)] {
            for transfer in transfers {
                let count = parts * transfer.neurons.count
                let isFar = nodes.map { $0[transfer.source] != $0[transfer.destination] } ?? false
                let seconds = Double(count) * (isFar ? far : near)
                sent[transfer.source] += seconds
                received[transfer.destination] += seconds
                neurons += count
            }
        }
        guard neurons > 0 else { return (0, 0) }
        let bytes = Self.neuronBytes(hiddenSize: hiddenSize)
        let busiest = max(sent.max() ?? 0, received.max() ?? 0) * Double(bytes)
        return (neurons * bytes, costs.exchangeLatencySeconds + MigrationBudget.slowness * busiest)
    }
}
