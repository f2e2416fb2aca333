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

    /// Policies that fill what they have do not fill a machine because it is large.
    @Test(arguments: ["eplb", "exact"]) func plentyOfMemoryIsNotFilled(name: String) throws {
        let model = ExpertModel(hiddenSize: 16, layers: [[Int](repeating: 64, count: 8)])
        let large = Cluster(nodes: [0, 0, 0, 0], memoryLimits: [Int](repeating: 1 << 40, count: 4))
        let plan = try PlacementPlan.first(name, model, large)
        #expect(try plan == PlacementPlan.first(name, model, Cluster(worldSize: 4)))
        let held = PlanMemory.bytes(plan, hiddenSize: 16, ownership: .colocated).max() ?? 0
        #expect(held <= 4 * bytes(64), "every expert twice")
    }

    /// A plan of which rank 1 holds three experts in layer 0, the busy one of them a second time, and two in other layers.
    private func full(_ model: ExpertModel, fraction: Double) throws -> PlacementPlan {
        func expert(_ ranks: [Int], _ width: Int) throws -> ExpertPlacement {
            try ExpertPlacement(
                width: width, mesh: DeviceMesh(dataParallel: ranks.count, tensorParallel: 1, ranks: ranks),
                fractions: ranks.count > 1 ? [fraction, 1 - fraction] : nil)
        }
        let layers = try model.layers.enumerated().map { layer, widths in
            let ranks = layer == 0 ? [[0, 1], [0], [1], [1]] : [[0], [0], [1], [1]]
            return LayerPlacement(experts: try zip(ranks, widths).map { try expert($0, $1) })
        }
        return try PlacementPlan(revision: 1, worldSize: 2, layers: layers)
    }

    private func sample(_ loads: [[Int]]) -> PerformanceSample {
        PerformanceSample(
            firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 0,
            residentBytes: 0, expertLoads: loads)
    }

    /// Slots are a part of the memory: who holds more of one layer and less of others is within it.
    @Test func aLayerMayHoldMoreThanItsPart() throws {
        let model = ExpertModel(hiddenSize: 16, layers: [[64, 64, 64, 64], [64, 64, 64, 64]])
        let plan = try full(model, fraction: 0.6)
        for (room, stays) in [(5, true), (4, false)] {
            let cluster = Cluster(nodes: [0, 0], memoryLimits: [room * bytes(64), room * bytes(64)])
            var allocator = try Allocators.make(named: "load-balanced:caution=0")
            allocator.collectPerformance(sample([[10_000, 2000, 2000, 2000], [4000, 4000, 4000, 4000]]), rank: 0)
            let next = try allocator.allocateExperts(current: plan, model: model, cluster: cluster, step: 1)
            #expect((next == nil) == stays, "room for \(room) experts")
        }
    }

    /// The layers' slots are no more than the memory, though a layer holds more than its part: another gets no more then.
    @Test func slotsOfAllLayersFitWhereOneHoldsMore() throws {
        let model = ExpertModel(hiddenSize: 16, layers: [[64, 64, 64, 64], [64, 64, 64, 64]])
        let cluster = Cluster(nodes: [0, 0], memoryLimits: [5 * bytes(64), 5 * bytes(64)])
        var allocator = try Allocators.make(named: "load-balanced:caution=0")
        allocator.collectPerformance(sample([[10_000, 2000, 2000, 2000], [10_000, 2000, 2000, 2000]]), rank: 0)
        let next = try allocator.allocateExperts(
            current: full(model, fraction: 0.6), model: model, cluster: cluster, step: 1)
        if let next {
            #expect(throws: Never.self) { try PlanMemory.check(next, model: model, cluster: cluster) }
        }
    }

    /// What planning leaves free for rows and moves is no limit that a plan in force has to keep: it can still become better.
    @Test func aPlanInForceMayTakeWhatIsLeftFree() throws {
        let model = ExpertModel(hiddenSize: 64, layers: [[1024, 1024, 1024, 1024], [1024, 1024, 1024, 1024]])
        let loads = [[500, 100, 100, 100], [200, 200, 200, 200]]
        let plan = try full(model, fraction: 0.5)
        let held = PlanMemory.bytes(plan, hiddenSize: 64, ownership: .colocated)[1]
        let cluster = Cluster(nodes: [0, 0], memoryLimits: [50_000_000, 50_000_000])
        let largest = loads.map { $0.map { 1.25 * Double($0) } }
        let allowance = PlanMemory.allowance(model: model, cluster: cluster, loads: largest).memoryLimits?[1] ?? 0
        #expect(allowance < held && held < 50_000_000)
        var planner = PlacementPlanner(
            allocator: try Allocators.make(named: "load-balanced:shapes=replicas,caution=0"), model: model,
            cluster: cluster, intervalSteps: 1)
        planner.record(sample(loads), rank: 0)
        let proposed = try planner.propose(current: plan, settings: PlanningSettings(), step: 1)
        let prediction = try #require(proposed).prediction
        #expect(prediction.secondsAfter < 0.97 * prediction.secondsBefore, "\(prediction)")
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
