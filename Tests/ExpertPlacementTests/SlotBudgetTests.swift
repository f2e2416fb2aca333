import ExpertPlacement
import Testing

@Suite struct SlotBudgetTests {
    private let costs = CostModel()

    private func bytes(_ neurons: Int) -> Int {
        SlotBudget.expertBytes(neurons: neurons, hiddenSize: 16, costs: costs)
    }

    private func slots(_ model: ExpertModel, limits: [Int]) throws -> [[Int]] {
        let cluster = Cluster(nodes: limits.map { _ in 0 }, memoryLimits: limits)
        return try model.layers.indices.map {
            try SlotBudget.slots(layer: $0, model: model, cluster: cluster, fixed: nil, costs: costs)
        }
    }

    /// Memory of exactly all experts is enough, however wide those of each layer are.
    @Test func narrowLayersTakeLess() throws {
        let model = ExpertModel(hiddenSize: 16, layers: [256, 32].map { [Int](repeating: $0, count: 8) })
        let limits = [Int](repeating: 2 * bytes(256) + 2 * bytes(32), count: 4)
        #expect(try slots(model, limits: limits) == [[2, 2, 2, 2], [2, 2, 2, 2]])
        for name in ["load-balanced", "eplb"] {
            let cluster = Cluster(nodes: [0, 0, 0, 0], memoryLimits: limits)
            let plan = try PlacementPlan.first(name, model, cluster)
            #expect(throws: Never.self) { try PlanMemory.check(plan, model: model, cluster: cluster) }
        }
        // What is left over is for whole experts: with less than a wide one's, a narrow layer has more.
        #expect(try slots(model, limits: limits.map { $0 + bytes(32) })[1].max() == 3)
    }

    /// Where all experts are alike, layers have as many slots as each other, and what is left over goes around.
    @Test func equalLayersShareEvenly() throws {
        for layers in 1...5 {
            let model = ExpertModel(
                hiddenSize: 16, layers: [[Int]](repeating: [Int](repeating: 24, count: 6), count: layers))
            for all in 0...7 * layers {
                let limits = (0..<7).map { all * bytes(24) + $0 }
                let expected = (0..<layers).map { layer in
                    (0..<7).map { rank in
                        min(6, all / layers + ((layer + rank) % layers < all % layers ? 1 : 0))
                    }
                }
                #expect(try slots(model, limits: limits) == expected, "\(layers) layers, \(all) experts")
            }
        }
    }
}
