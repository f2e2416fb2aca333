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
            let cost = try LayerMigration.cost(
                costs, hiddenSize: model.hiddenSize, layer: layer, from: current.layers[layer],
                to: plan.layers[layer], ownership: ownership, nodes: plan.nodes)
            sum.bytes += cost.bytes
            sum.seconds += cost.seconds
        }
        bytes += sum.bytes
        seconds += sum.seconds
        return sum
    }
}

extension LayerMigration {
    /// Bytes of a layer's move, all ranks together, and its seconds: the rank that sends or receives for longest is waited
    /// for. The move need not be made for that, whose transfers are many with many replicas.
    /// - Throws: `PlacementError.invalidPlan`, as `init` does.
    static func cost(
        _ costs: CostModel, hiddenSize: Int, layer: Int, from source: LayerPlacement, to target: LayerPlacement,
        ownership: OwnershipPolicy, nodes: [Int]
    ) throws(PlacementError) -> (bytes: Int, seconds: Double) {
        try check(layer: layer, from: source, to: target, worldSize: nodes.count)
        // Neurons' parts that each rank sends and receives, within its node and beyond.
        var sent = [(near: Int, far: Int)](repeating: (0, 0), count: nodes.count)
        var received = sent
        var sources = TransferSources(nodes: nodes)
        forEachExchange(layer: layer, from: source, to: target, ownership, worldSize: nodes.count) {
            _, parts, have, need in
            sources.send(from: have, to: need, cost: parts) { neurons, source, destination in
                let count = parts * neurons.count
                if nodes[source] == nodes[destination] {
                    sent[source].near += count
                    received[destination].near += count
                } else {
                    sent[source].far += count
                    received[destination].far += count
                }
            }
        }
        let neurons = sent.reduce(0) { $0 + $1.near + $1.far }
        guard neurons > 0 else { return (0, 0) }
        let near = 1 / costs.bytesPerSecond
        let far = 1 / (costs.nodeLinks?.exchange.bytesPerSecond ?? costs.bytesPerSecond)
        let busiest = (sent + received).reduce(0) { max($0, Double($1.near) * near + Double($1.far) * far) }
        let bytes = neuronBytes(hiddenSize: hiddenSize)
        return (
            neurons * bytes, costs.exchangeLatencySeconds + MigrationBudget.slowness * busiest * Double(bytes)
        )
    }
}
