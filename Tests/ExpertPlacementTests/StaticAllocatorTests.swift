import ExpertPlacement
import Testing

@Suite struct StaticAllocatorTests {
    private func plan(_ name: String, model: ExpertModel, worldSize: Int) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: name)
        let plan = try allocator.allocateExperts(
            current: nil, model: model, cluster: Cluster(worldSize: worldSize), step: 0)
        return try #require(plan)
    }

    private func meshes(_ plan: PlacementPlan) -> [[DeviceMesh]] { plan.layers.map { $0.experts.map(\.mesh) } }

    @Test func tensorParallelSpreadsEveryExpertOverAllRanks() throws {
        for worldSize in 1...6 {
            for width in 1...8 {
                let model = ExpertModel(hiddenSize: 4, layers: [[width, 3], [2]])
                let plan = try self.plan("tensor-parallel", model: model, worldSize: worldSize)
                try plan.validate(for: model, worldSize: worldSize)
                for (layer, widths) in model.layers.enumerated() {
                    for (expert, width) in widths.enumerated() {
                        let shards = min(worldSize, width)
                        #expect(
                            meshes(plan)[layer][expert]
                                == (try DeviceMesh(
                                    dataParallel: 1, tensorParallel: shards, ranks: Array(0..<shards))))
                    }
                }
            }
        }
    }

    @Test func expertParallelPutsExpertsOnRanksInTurn() throws {
        let model = ExpertModel(hiddenSize: 4, layers: [[5, 5, 5, 5, 5]])
        let plan = try plan("expert-parallel", model: model, worldSize: 3)
        #expect(meshes(plan)[0].map(\.ranks) == [[0], [1], [2], [0], [1]])
    }

    @Test func replicatedPutsEveryExpertOnAllRanks() throws {
        let model = ExpertModel(hiddenSize: 4, layers: [[1, 7]])
        for worldSize in 1...4 {
            for mesh in meshes(try plan("replicated", model: model, worldSize: worldSize))[0] {
                #expect(mesh.dataParallel == worldSize && mesh.tensorParallel == 1)
                #expect(mesh.ranks == Array(0..<worldSize))
            }
        }
    }

    @Test func gridsTakeRanksInTurn() throws {
        let model = ExpertModel(hiddenSize: 4, layers: [[6, 6, 6, 6]])
        for worldSize in 1...6 {
            for replicas in 1...6 {
                for shards in 1...6 {
                    let name = "dp=\(replicas),tp=\(shards)"
                    guard replicas * shards <= worldSize else {
                        #expect(throws: PlacementError.self) {
                            _ = try plan(name, model: model, worldSize: worldSize)
                        }
                        continue
                    }
                    let placed = meshes(try plan(name, model: model, worldSize: worldSize))[0]
                    var next = 0
                    for mesh in placed {
                        #expect(mesh.dataParallel == replicas && mesh.tensorParallel == shards)
                        #expect(mesh.ranks == (0..<replicas * shards).map { (next + $0) % worldSize })
                        next += replicas * shards
                    }
                }
            }
        }
    }

    @Test func aPlanInForceIsNeverChanged() throws {
        let model = ExpertModel(hiddenSize: 4, layers: [[6]])
        for name in ["tensor-parallel", "expert-parallel", "replicated", "dp=1,tp=1"] {
            let current = try plan(name, model: model, worldSize: 2)
            var allocator = try Allocators.make(named: name)
            allocator.collectPerformance(
                PerformanceSample(
                    firstStep: 0, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                    tokens: 1, residentBytes: 1), rank: 0)
            let next = try allocator.allocateExperts(
                current: current, model: model, cluster: Cluster(worldSize: 2), step: 10)
            #expect(next == nil)
        }
    }

    @Test func theTopologyIsKept() throws {
        let allocator = StaticAllocator(.replicated)
        let plan = try allocator.allocateExperts(
            current: nil, model: ExpertModel(hiddenSize: 4, layers: [[6]]), cluster: Cluster(nodes: [0, 0, 1]),
            step: 0)
        #expect(plan?.nodes == [0, 0, 1])
    }

    @Test(arguments: [
        "", "tensor", "dp=2", "dp=2,tp=", "dp=0,tp=1", "dp=1,tp=0", "dp=-1,tp=2", "tp=2,dp=2", "dp=2,tp=2,",
        "dp=2, tp=2", "dp=99999999999999999999,tp=1", "DP=2,TP=2",
    ])
    func unknownNamesListTheKnown(name: String) {
        let error = #expect(throws: PlacementError.self) { _ = try Allocators.make(named: name) }
        #expect(error == .unknownAllocator(name))
        #expect(error.map { "\($0)" }?.contains("tensor-parallel, expert-parallel, replicated, dp=D,tp=T") == true)
    }

    @Test func whatCannotBePlacedIsRefused() throws {
        let model = ExpertModel(hiddenSize: 4, layers: [[6]])
        // Each shard needs a neuron.
        #expect(throws: PlacementError.self) { _ = try plan("dp=1,tp=7", model: model, worldSize: 8) }
        #expect(throws: PlacementError.self) {
            _ = try plan("dp=4611686018427387904,tp=4", model: model, worldSize: 2)
        }
        for name in ["tensor-parallel", "expert-parallel", "replicated", "dp=1,tp=1"] {
            #expect(throws: PlacementError.self) { _ = try plan(name, model: model, worldSize: 0) }
            for width in [0, -1, Int.min] {
                #expect(throws: PlacementError.self) {
                    _ = try plan(name, model: ExpertModel(hiddenSize: 4, layers: [[width]]), worldSize: 2)
                }
            }
        }
    }

    @Test func theDefaultIsTensorParallel() throws {
        let allocator = try Allocators.make(named: Allocators.defaultName)
        #expect((allocator as? StaticAllocator)?.rule == .tensorParallel)
    }
}
