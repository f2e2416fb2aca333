import ExpertPlacement
import PlacementInvariance
import Randomness
import Testing

@Suite struct PlanMemoryTests {
    private let model = ExpertModel(hiddenSize: 2, layers: [[9, 5, 8], [4, 4], [7, 6, 3, 2]])

    private func held(_ plan: PlacementPlan, rank: Int, _ ownership: OwnershipPolicy, layer: Int) -> Int {
        plan.layers[layer].experts.indices.reduce(0) { sum, expert in
            let ranges = plan.layers[layer].stateRanges(
                of: expert, rank: rank, ownership, layer: layer, worldSize: plan.worldSize)
            return sum + 24 * (2 * ranges.weights.reduce(0) { $0 + $1.count } + 2 * ranges.owned.count)
        }
    }

    @Test(arguments: OwnershipPolicy.allCases) func countsWhatRanksHold(ownership: OwnershipPolicy) throws {
        for seed in UInt64(0)..<60 {
            var plans = RandomPlan(seed: seed)
            let worldSize = 1 + Int(seed % 5)
            let plan = try plans.plan(for: model, worldSize: worldSize)
            let bytes = PlanMemory.bytes(plan, hiddenSize: 2, ownership: ownership)
            for rank in 0..<worldSize {
                let expected = (0..<3).reduce(0) { $0 + held(plan, rank: rank, ownership, layer: $1) }
                #expect(bytes[rank] == expected, "seed \(seed), rank \(rank)")
            }
        }
    }

    /// A limit of exactly what the way takes holds, and one byte less does not.
    @Test(arguments: OwnershipPolicy.allCases) func everyMixtureOnTheWayFits(ownership: OwnershipPolicy) throws {
        var refusedOnTheWay = 0
        for seed in UInt64(0)..<60 {
            var plans = RandomPlan(seed: 1000 + seed)
            let worldSize = 2 + Int(seed % 4)
            let current = try plans.plan(for: model, worldSize: worldSize)
            let plan = try plans.plan(for: model, worldSize: worldSize)
            let migration = try Migration(from: current, to: plan, ownership: ownership)
            let order = MigrationSchedule(migration, hiddenSize: 2).layersByStep.flatMap { $0 }
            var peaks = [Int](repeating: 0, count: worldSize)
            for rank in 0..<worldSize {
                var layers = (0..<3).map { held(current, rank: rank, ownership, layer: $0) }
                peaks[rank] = layers.reduce(0, +)
                for layer in order {
                    layers[layer] = 0
                    let others = layers.reduce(0, +)
                    let moving = migration.layers[layer].peakBytes(of: rank, hiddenSize: 2, chunkBytes: 48)
                    layers[layer] = held(plan, rank: rank, ownership, layer: layer)
                    peaks[rank] = max(peaks[rank], others + moving, layers.reduce(0, +))
                }
            }
            var cluster = Cluster(
                nodes: [Int](repeating: 0, count: worldSize), memoryLimits: peaks, ownership: ownership)
            func check() throws {
                try PlanMemory.check(plan, from: current, model: model, cluster: cluster, chunkBytes: 48)
            }
            #expect(throws: Never.self, "seed \(seed)") { try check() }
            for rank in 0..<worldSize {
                let before = PlanMemory.bytes(current, hiddenSize: 2, ownership: ownership)[rank]
                // A rank may be over its limit before anything moves.
                guard peaks[rank] > before else { continue }
                cluster.memoryLimits?[rank] -= 1
                let error = #expect(throws: PlacementError.self, "seed \(seed), rank \(rank)") { try check() }
                let text = error.map { "\($0)" } ?? ""
                #expect(text.contains("rank \(rank) would need \(peaks[rank]) bytes"))
                #expect(text.contains("limit of \(peaks[rank] - 1)") && text.contains("--memory-limit"))
                if text.contains("moves") || text.contains("has moved") { refusedOnTheWay += 1 }
                cluster.memoryLimits?[rank] += 1
            }
        }
        #expect(refusedOnTheWay > 20)
    }

    @Test func buffersCount() throws {
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 16], [16, 16]])
        var cluster = Cluster(worldSize: 2)
        let plan = try PlacementPlan.first("expert-parallel", model, cluster)
        // 100 rows a layer on rank 0 and 10 on rank 1; a row keeps input, output and two activations of each neuron, and
        // is sent and received with one more activation in one layer at a time.
        let loads = [[100.0, 10], [100, 10]]
        let state = PlanMemory.bytes(plan, hiddenSize: 8, ownership: .colocated)
        let row = 4 * (2 * (2 * 8 + 2 * 16) + (2 * 8 + 16))
        cluster.memoryLimits = [state[0] + 100 * row, state[1] + 10 * row]
        #expect(throws: Never.self) { try PlanMemory.check(plan, model: model, cluster: cluster, loads: loads) }
        cluster.memoryLimits?[1] -= 1
        #expect(throws: PlacementError.self) {
            try PlanMemory.check(plan, model: model, cluster: cluster, loads: loads)
        }
        #expect(throws: Never.self) { try PlanMemory.check(plan, model: model, cluster: cluster) }
        cluster.memoryLimits = [1]
        #expect(throws: PlacementError.self) { try PlanMemory.check(plan, model: model, cluster: cluster) }
    }

    /// Layers in which only rows go elsewhere need memory too, and can be left out as others can.
    @Test func rowsThatHaveNoRoomStay() throws {
        let model = ExpertModel(hiddenSize: 8, layers: [[16], [16]])
        func plan(_ fractions: [Double]) throws -> PlacementPlan {
            let mesh = try DeviceMesh(dataParallel: 2, tensorParallel: 1, ranks: [0, 1])
            return try PlacementPlan(
                worldSize: 2,
                layers: fractions.map {
                    LayerPlacement(
                        experts: [try ExpertPlacement(width: 16, mesh: mesh, fractions: [$0, 1 - $0])])
                })
        }
        let (current, wanted) = (try plan([0.5, 0.5]), try plan([0.875, 0.375]))
        // A row keeps input, output and two activations of each neuron, and takes half of that again in one layer at a time.
        let row = 4 * (2 * 8 + 2 * 16)
        let work = 4 * (2 * 8 + 16)
        let loads = [[800.0], [800]]
        let state = PlanMemory.bytes(current, hiddenSize: 8, ownership: .colocated)
        // Room for 900 rows, which is what rank 1 has with layer 1 as it is wanted, up to 500 of them in one layer.
        let cluster = Cluster(nodes: [0, 0], memoryLimits: state.map { $0 + 900 * row + 500 * work })
        let error = #expect(throws: PlacementError.self) {
            try PlanMemory.check(wanted, from: current, model: model, cluster: cluster, loads: loads)
        }
        #expect("\(String(describing: error))".contains("rank 0"))
        let reached = try PlanMemory.reachable(wanted, from: current, model: model, cluster: cluster, loads: loads)
        #expect(reached.layers == [current.layers[0], wanted.layers[1]])
        try PlanMemory.check(reached, from: current, model: model, cluster: cluster, loads: loads)
    }

    /// A rank that is over its limit may get rid of experts.
    @Test func relievingARankIsAllowed() throws {
        let model = ExpertModel(hiddenSize: 2, layers: [[Int](repeating: 8, count: 4), [8, 8, 8, 8]])
        func plan(_ ranks: [Int]) throws -> PlacementPlan {
            let experts = try ranks.map {
                try ExpertPlacement(width: 8, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [$0]))
            }
            let layer = LayerPlacement(experts: experts)
            return try PlacementPlan(worldSize: 2, layers: [layer, layer])
        }
        let (crowded, even) = (try plan([0, 0, 0, 0]), try plan([0, 1, 0, 1]))
        var cluster = Cluster(worldSize: 2)
        cluster.memoryLimits = [6 * 768, 6 * 768]
        try PlanMemory.check(even, from: crowded, model: model, cluster: cluster, chunkBytes: 48)
        #expect(throws: PlacementError.self) {
            try PlanMemory.check(crowded, from: even, model: model, cluster: cluster, chunkBytes: 48)
        }
    }

    /// With little memory, what is proposed fits on the way and in the end, buffers and all.
    @Test(arguments: OwnershipPolicy.allCases) func proposalsFitTightMemory(ownership: OwnershipPolicy) throws {
        let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 1024, count: 8), count: 4))
        var proposals = 0
        var refusals = 0
        for seed in UInt64(0)..<12 {
            var seeded = SeededLoads(seed: 8000 + seed)
            let whole = SlotBudget.expertBytes(neurons: 1024, hiddenSize: 64, costs: CostModel(ownership: ownership))
            // Room for twice the experts and some more, to three times, for spread state and for buffers.
            let limit = whole * 4 * seeded.integer(5...8) + ((ownership == .colocated ? 32 : 64) << 20)
            let cluster = Cluster(
                nodes: [0, 0, 0, 0], memoryLimits: [Int](repeating: limit, count: 4),
                exchange: ExchangeCosts(latencySeconds: 1e-6, bytesPerSecond: 1e12), ownership: ownership)
            // Replicas only: shards over all ranks take the least memory and would stay for good.
            var planner = PlacementPlanner(
                allocator: try Allocators.make(named: "load-balanced:shapes=replicas"), model: model, cluster: cluster,
                intervalSteps: 10)
            var plan = try PlacementPlan.first("expert-parallel", model, cluster)
            var run = SimulatedRun(slowness: [1, 1.5, 1, 1])
            for kind in SeededLoads.Kind.allCases {
                // As in training, all layers have as many rows in every step.
                let loads = model.layers.map { widths in
                    let loads = seeded.loads(kind, experts: widths.count)
                    let total = loads.reduce(0, +)
                    return loads.map { (2000 * (total > 0 ? $0 / total : 1 / Double(widths.count))).rounded() }
                }
                for _ in 0..<2 {
                    let before = plan
                    do {
                        if let proposal = try run.advance(&planner, plan: &plan, loads: loads) {
                            proposals += 1
                            try PlanMemory.check(proposal.plan, from: before, model: model, cluster: cluster)
                        }
                    } catch PlacementError.exceedsMemory {
                        #expect(plan == before, "seed \(seed): a plan proposed does not fit")
                        refusals += 1
                    }
                }
            }
        }
        #expect(proposals > 40 && refusals < proposals / 10, "\(proposals) proposals, \(refusals) refusals")
    }
}
