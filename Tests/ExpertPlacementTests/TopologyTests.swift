import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// What planning knows of nodes: where replicas, shards and groups go, and what messages between nodes cost.
@Suite struct TopologyTests {
    private static func cluster(_ nodes: [Int]) -> Cluster {
        Cluster(
            nodes: nodes, memoryLimits: nil, exchange: ExchangeCosts(latencySeconds: 1e-6, bytesPerSecond: 1e10),
            exchangeBetweenNodes: ExchangeCosts(latencySeconds: 1e-5, bytesPerSecond: 1e9))
    }

    /// Plans for random loads, one after the other.
    private static func plans(
        _ policy: String, _ cluster: Cluster, _ model: ExpertModel, _ generator: inout SeededGenerator
    ) throws -> [PlacementPlan] {
        var allocator = try Allocators.make(named: policy)
        var plan = try #require(
            try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0))
        var plans = [plan]
        for step in 1...4 {
            let skew = Int.random(in: 0...2000, using: &generator)
            let loads = model.layers.map { layer in
                layer.map { _ in Int.random(in: 0...9, using: &generator) == 0 ? 100 + 10 * skew : 100 }
            }
            allocator.collectPerformance(
                PerformanceSample(
                    firstStep: step, stepCount: 1, planRevision: 0, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                    tokens: 0, residentBytes: 0, expertLoads: loads), rank: 0)
            if let next = try allocator.allocateExperts(current: plan, model: model, cluster: cluster, step: step) {
                plan = next
                plans.append(plan)
            }
        }
        return plans
    }

    /// Nodes of some sizes.
    private static func nodes(_ generator: inout SeededGenerator) -> [Int] {
        (0..<Int.random(in: 2...4, using: &generator)).flatMap { node in
            [Int](repeating: 7 * node, count: Int.random(in: 2...4, using: &generator))
        }
    }

    @Test func replicasAreSpreadOverNodesAndShardsKeptInside() throws {
        var generator = SeededGenerator(seed: TestRuns.seed())
        let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 64, count: 12), count: 2))
        var (several, shards) = (0, 0)
        for round in 0..<TestRuns.count(60, soak: 2000) {
            let nodes = Self.nodes(&generator)
            let shapes = round % 2 == 0 ? "replicas" : "any"
            // Without a price on moves there are many. No node runs out of room.
            let policy = "load-balanced:shapes=\(shapes),slots=10,life=1e9"
            for plan in try Self.plans(policy, Self.cluster(nodes), model, &generator) {
                for expert in plan.layers.flatMap(\.experts) {
                    let mesh = expert.mesh
                    for replica in 0..<mesh.dataParallel {
                        #expect(Set(mesh.ranks(ofReplica: replica).map { nodes[$0] }).count == 1, "\(mesh) on \(nodes)")
                    }
                    shards += mesh.tensorParallel > 1 ? 1 : 0
                    guard mesh.tensorParallel == 1 else { continue }
                    let wanted = min(mesh.dataParallel, Set(nodes).count)
                    #expect(Set(mesh.ranks.map { nodes[$0] }).count == wanted, "\(mesh) on \(nodes)")
                    several += mesh.dataParallel > 1 ? 1 : 0
                }
            }
        }
        #expect(several > 0 && shards > 0)
    }

    @Test func groupsStayOnANodeEach() throws {
        var generator = SeededGenerator(seed: TestRuns.seed())
        let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 64, count: 16), count: 2))
        for policy in ["load-balanced:groups=8,life=1e9", "eplb:groups=8"] {
            for _ in 0..<20 {
                let count = [2, 4].randomElement(using: &generator) ?? 2
                let size = [2, 4].randomElement(using: &generator) ?? 2
                let nodes = Cluster.nodes(ranks: count * size, nodes: count)
                for plan in try Self.plans(policy, Self.cluster(nodes), model, &generator).dropFirst() {
                    for layer in plan.layers {
                        var homes = [Int](repeating: 0, count: count)
                        for group in 0..<8 {
                            let ranks = layer.experts[2 * group..<2 * group + 2].flatMap(\.mesh.ranks)
                            let home = Set(ranks.map { nodes[$0] })
                            #expect(home.count == 1, "\(policy): group \(group) on \(ranks)")
                            homes[home.first ?? 0] += 1
                        }
                        #expect(homes.allSatisfy { $0 == 8 / count }, "\(policy): \(homes)")
                    }
                }
            }
        }
        // A plan that scatters groups gives way even if nothing is gained.
        var allocator = try Allocators.make(named: "load-balanced:groups=4")
        let cluster = Self.cluster([0, 0, 1, 1])
        let scattered = try PlacementPlan.first("expert-parallel", model, cluster)
        let sample = PerformanceSample(
            firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 0,
            residentBytes: 0, expertLoads: model.layers.map { $0.map { _ in 100 } })
        // The planner, too, lets it go.
        var planner = PlacementPlanner(allocator: allocator, model: model, cluster: cluster, intervalSteps: 1)
        planner.record(sample, rank: 0)
        let proposal = try planner.propose(current: scattered, settings: PlanningSettings(), step: 1)
        allocator.collectPerformance(sample, rank: 0)
        let plan = try allocator.allocateExperts(current: scattered, model: model, cluster: cluster, step: 1)
        #expect(try #require(proposal).plan.layers == plan?.layers)
        #expect(planner.keeps(try #require(proposal).plan, over: proposal, current: scattered))
        // One that scatters them otherwise, and is no faster, does not stay on offer.
        var layers = scattered.layers
        var experts = layers[0].experts
        experts.swapAt(0, 1)
        layers[0] = LayerPlacement(experts: experts)
        let otherwise = try PlacementPlan(worldSize: 4, nodes: cluster.nodes, layers: layers)
        #expect(!planner.keeps(otherwise, over: nil, current: scattered))
        let first = try #require(plan).layers[0].experts[0..<4].flatMap(\.mesh.ranks)
        #expect(Set(first.map { cluster.nodes[$0] }).count == 1, "\(first)")
        #expect((allocator as? LoadBalancedAllocator)?.brokenLayers == [0, 1])
        // What is over the slots that memory leaves may be within the limit, which the planner looks at itself.
        let bytes = SlotBudget.expertBytes(
            neurons: 64, hiddenSize: 64, costs: CostModel.nominal(hiddenSize: model.hiddenSize))
        let tight = Cluster(nodes: [0, 0], memoryLimits: [8 * 2 * bytes, 8 * 2 * bytes])
        let heavy = try PlacementPlan(
            revision: 1, worldSize: 2,
            layers: model.layers.map { widths in
                LayerPlacement(
                    experts: try widths.enumerated().map { expert, width in
                        try ExpertPlacement(
                            width: width,
                            mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [expert < 9 ? 0 : 1]))
                    })
            })
        for (slots, broken) in [(nil, []), (8, [0, 1])] as [(Int?, [Int])] {
            var limited = LoadBalancedAllocator()
            limited.options.slots = slots
            limited.collectPerformance(sample, rank: 0)
            #expect(try limited.allocateExperts(current: heavy, model: model, cluster: tight, step: 1) != nil)
            #expect(limited.brokenLayers == broken, "\(broken)")
        }
        // A plan gives way, too, that has more groups on a node than on the other, though both have as much to do.
        var even = try Allocators.make(named: "load-balanced:groups=4")
        let heap = try PlacementPlan(
            revision: 1, worldSize: 4, nodes: cluster.nodes,
            layers: model.layers.map { widths in
                LayerPlacement(
                    experts: try widths.enumerated().map { expert, width in
                        let rank = expert < 12 ? expert % 2 : 2 + expert % 2
                        return try ExpertPlacement(
                            width: width, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [rank]))
                    })
            })
        even.collectPerformance(
            PerformanceSample(
                firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 0,
                residentBytes: 0, expertLoads: model.layers.map { $0.indices.map { $0 < 12 ? 100 : 300 } }), rank: 0)
        let spread = try #require(try even.allocateExperts(current: heap, model: model, cluster: cluster, step: 1))
        for layer in spread.layers {
            let homes = (0..<4).map { cluster.nodes[layer.experts[4 * $0].mesh.ranks[0]] }
            #expect(homes.reduce(0, +) == 2, "\(homes)")
        }
        for groups in [3, 6] {
            var refused = try Allocators.make(named: "load-balanced:groups=\(groups)")
            #expect(throws: PlacementError.self) {
                _ = try refused.allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
            }
        }
        // On one node there is nothing to keep together.
        var alone = try Allocators.make(named: "load-balanced:groups=3")
        #expect(try alone.allocateExperts(current: nil, model: model, cluster: Cluster(worldSize: 4), step: 0) != nil)
    }

    /// Of all that may come in the place of a plan that has to go the best does, not the first: shards of all experts have each row
    /// on twice as many ranks.
    @Test func whatHasToGoGivesWayToTheBest() throws {
        let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 64, count: 16), count: 2))
        let cluster = Self.cluster([0, 0, 1, 1])
        let name = "load-balanced:groups=2,caution=0"
        let torn = try PlacementPlan.first("expert-parallel", model, cluster)
        let fresh = try PlacementPlan.first(name, model, cluster)
        let loads = model.layers.map { $0.map { _ in 100 } }
        var allocator = try Allocators.make(named: name)
        allocator.collectPerformance(
            PerformanceSample(
                firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 0,
                residentBytes: 0, expertLoads: loads), rank: 0)
        let plan = try #require(
            try allocator.allocateExperts(current: torn, model: model, cluster: cluster, step: 1))
        let costs = CostEstimate().costs(model: model, cluster: cluster)
        let seconds = try [plan, fresh].map { plan in
            try PlanPrediction(
                from: torn, to: plan, loads: loads.map { $0.map(Double.init) }, costs: costs, model: model
            ).secondsAfter
        }
        #expect(seconds[0] <= 1.01 * seconds[1], "\(seconds)")
    }

    /// A pinned expert that is in nobody's way does not keep its layer as it was.
    @Test func aPinKeepsNoGroupsApart() throws {
        let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 64, count: 16), count: 2))
        let cluster = Self.cluster([0, 0, 1, 1])
        let torn = try PlacementPlan.first("expert-parallel", model, cluster)
        var planner = PlacementPlanner(
            allocator: try Allocators.make(named: "load-balanced:groups=2"), model: model, cluster: cluster,
            intervalSteps: 1)
        planner.record(
            PerformanceSample(
                firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 0,
                residentBytes: 0, expertLoads: model.layers.map { $0.map { _ in 100 } }), rank: 0)
        let settings = PlanningSettings(pinned: [ExpertID(layer: 0, expert: 0)])
        let proposed = try planner.propose(current: torn, settings: settings, step: 1)
        let plan = try #require(proposed).plan
        #expect(plan.layers[0].experts[0] == torn.layers[0].experts[0])
        for layer in plan.layers {
            for group in [layer.experts[..<8], layer.experts[8...]] {
                #expect(Set(group.flatMap(\.mesh.ranks).map { cluster.nodes[$0] }).count == 1)
            }
        }
    }

    @Test func messagesBetweenNodesCostMore() throws {
        let links = NodeLinks(nodes: [5, 5, 5, 9], exchange: ExchangeCosts(latencySeconds: 0, bytesPerSecond: 10))
        #expect(links.nodes == [0, 0, 0, 1] && links.neighbours == [3, 3, 3, 1])
        let costs = CostModel(exchangeLatencySeconds: 0, bytesPerSecond: 1000, nodeLinks: links)
        // Of four rows one is the rank's own; 4 · 2 values of 4 bytes travel for each other.
        #expect(
            abs(costs.exchangeSecondsPerRow(hiddenSize: 2, worldSize: 4, rank: 0) - 32 * (0.5 / 1000 + 0.25 / 10))
                < 1e-12)
        #expect(abs(costs.exchangeSecondsPerRow(hiddenSize: 2, worldSize: 4, rank: 3) - 32 * 0.75 / 10) < 1e-12)
        let near = CostModel(exchangeLatencySeconds: 0, bytesPerSecond: 1000)
        #expect(near.exchangeSecondsPerRow(hiddenSize: 2, worldSize: 4, rank: 3) == 0.75 * 32 / 1000)
        // Replicas on ranks 0, 1 and 3: half of what rank 0 does not own is near, none of what rank 3 does not.
        let mesh = try DeviceMesh(dataParallel: 3, tensorParallel: 1, ranks: [0, 1, 3])
        let layer = LayerPlacement(experts: [try ExpertPlacement(width: 3, mesh: mesh)])
        let idle = LayerPrediction(
            layer, loads: [0], deviations: [0], caution: 0, costs: costs, hiddenSize: 2, worldSize: 4)
        let bytes = 2.0 * 3 * 2 * 2 * 4
        #expect(abs(idle.rankSeconds[0] - bytes * (0.5 / 1000 + 0.5 / 10)) < 1e-9)
        #expect(abs(idle.rankSeconds[3] - bytes / 10) < 1e-9)
        #expect(idle.rankSeconds[2] == 0)
        // Two replicas of two shards: those of the first are on one node, those of the second on two.
        let square = try DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [0, 1, 2, 3])
        let cut = LayerPrediction(
            LayerPlacement(experts: [try ExpertPlacement(width: 4, mesh: square)]), loads: [0], deviations: [0],
            caution: 0, costs: costs, hiddenSize: 2, worldSize: 4)
        for (rank, rate) in [1000.0, 10, 1000, 10].enumerated() {
            #expect(abs(cut.rankSeconds[rank] - bytes / 2 / rate) < 1e-9, "rank \(rank)")
        }
        #expect(throws: PlacementError.self) { try costs.validate(worldSize: 5) }
    }

    /// Clusters and costs that were stored before there were links between nodes can be read, and are written as before.
    @Test func storedClustersAreRead() throws {
        let stored =
            #"{"exchange":{"bytes_per_second":1000,"latency_seconds":0.5},"nodes":[0,1],"ownership":"decoupled"}"#
        let cluster = try JSONDecoder().decode(Cluster.self, from: Data(stored.utf8))
        #expect(cluster.exchangeBetweenNodes == nil && cluster.exchange?.bytesPerSecond == 1000)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        #expect(String(decoding: try encoder.encode(cluster), as: UTF8.self) == stored)
        var linked = cluster
        linked.exchangeBetweenNodes = ExchangeCosts(latencySeconds: 1, bytesPerSecond: 2)
        #expect(try JSONDecoder().decode(Cluster.self, from: encoder.encode(linked)) == linked)
        let costs = try encoder.encode(CostModel())
        #expect(!String(decoding: costs, as: UTF8.self).contains("nodeLinks"))
        #expect(try JSONDecoder().decode(CostModel.self, from: costs) == CostModel())
    }
}
