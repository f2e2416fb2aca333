import ExpertPlacement
import Foundation
import Testing

@Suite struct PlacementPlanTests {
    private let model = ExpertModel(hiddenSize: 8, layers: [[4, 4], [6, 3]])

    private func plan() throws -> PlacementPlan {
        func placement(_ width: Int, _ ranks: [Int], replicas: Int = 1) throws -> ExpertPlacement {
            try ExpertPlacement(
                width: width,
                mesh: DeviceMesh(
                    dataParallel: replicas, tensorParallel: ranks.count / replicas, ranks: ranks))
        }
        return try PlacementPlan(
            revision: 3, worldSize: 3, nodes: [0, 0, 1],
            layers: [
                LayerPlacement(experts: [try placement(4, [0, 1, 2]), try placement(4, [2])], switchStep: 40),
                LayerPlacement(experts: [
                    try ExpertPlacement(
                        width: 6, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 2, ranks: [1, 0]),
                        cuts: [0, 5, 6]),
                    try ExpertPlacement(
                        width: 3, mesh: DeviceMesh(dataParallel: 3, tensorParallel: 1, ranks: [2, 0, 1]),
                        fractions: [0.5, 0.25, 0.25]),
                ]),
            ])
    }

    @Test func roundTripsThroughJSON() throws {
        let plan = try plan()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let data = try encoder.encode(plan)
        #expect(try JSONDecoder().decode(PlacementPlan.self, from: data) == plan)
        let text = String(decoding: data, as: UTF8.self)
        for part in [
            #""format":1"#, #""revision":3"#, #""world_size":3"#, #""nodes":[0,0,1]"#, #""switch_step":40"#,
            #""cuts":[0,5,6]"#, #""fractions":[0.5,0.25,0.25]"#, #""data_parallel":3"#,
        ] {
            #expect(text.contains(part), "\(part) in \(text)")
        }
    }

    @Test func plansOfEveryAllocatorRoundTrip() throws {
        for name in ["tensor-parallel", "expert-parallel", "replicated", "dp=2,tp=1"] {
            var allocator = try Allocators.make(named: name)
            let plan = try allocator.allocateExperts(
                current: nil, model: model, cluster: Cluster(nodes: [0, 1, 1]), step: 0)
            let made = try #require(plan)
            let data = try JSONEncoder().encode(made)
            #expect(try JSONDecoder().decode(PlacementPlan.self, from: data) == made)
        }
    }

    /// Whatever a peer or a file holds, decoding refuses it and does not trap.
    @Test(arguments: [
        (#""format":1"#, #""format":2"#), (#""revision":3"#, #""revision":-1"#),
        (#""world_size":3"#, #""world_size":2"#), (#""world_size":3"#, #""world_size":0"#),
        (#""world_size":3"#, #""world_size":-5"#), (#""nodes":[0,0,1]"#, #""nodes":[0,0]"#),
        (#""nodes":[0,0,1]"#, #""nodes":[0,0,-1]"#), (#""cuts":[0,5,6]"#, #""cuts":[0,6,6]"#),
        (#""fractions":[0.5,0.25,0.25]"#, #""fractions":[0.5,0.25]"#),
        (#""fractions":[0.5,0.25,0.25]"#, #""fractions":[0.5,0.25,0.5]"#),
        (#""ranks":[2,0,1]"#, #""ranks":[2,0,3]"#), (#""ranks":[2,0,1]"#, #""ranks":[2,0,2]"#),
        (#""ranks":[2,0,1]"#, #""ranks":[2,0,-1]"#),
        (#""tensor_parallel":3"#, #""tensor_parallel":9223372036854775807"#),
    ])
    func decodingRefusesWhatIsNoPlan(part: String, replacement: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let text = String(decoding: try encoder.encode(plan()), as: UTF8.self)
        let changed = text.replacingOccurrences(of: part, with: replacement)
        #expect(changed != text)
        #expect(throws: PlacementError.self) {
            try JSONDecoder().decode(PlacementPlan.self, from: Data(changed.utf8))
        }
    }

    @Test func decodingNeedsTheFormat() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let text = String(decoding: try encoder.encode(plan()), as: UTF8.self)
        let changed = text.replacingOccurrences(of: #""format":1,"#, with: "")
        #expect(changed != text)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(PlacementPlan.self, from: Data(changed.utf8))
        }
    }

    @Test func fitsTheModelAndWorldItWasMadeFor() throws {
        let plan = try plan()
        try plan.validate(for: model, worldSize: 3)
        for (other, worldSize, reason) in [
            (model, 4, "made for 3 ranks, the world has 4"),
            (ExpertModel(hiddenSize: 8, layers: [[4, 4]]), 3, "made for 2 layers, the model has 1"),
            (ExpertModel(hiddenSize: 8, layers: [[4, 4], [6, 4]]), 3, "layer 1: made for experts of widths [6, 3]"),
            (ExpertModel(hiddenSize: 8, layers: [[4, 4, 4], [6, 3]]), 3, "layer 0: made for experts"),
        ] {
            let error = #expect(throws: PlacementError.self) { try plan.validate(for: other, worldSize: worldSize) }
            #expect(error.map { "\($0)" }?.contains(reason) == true, "\(String(describing: error))")
        }
    }

    @Test func aRankBeyondTheWorldNamesLayerAndExpert() throws {
        let far = try ExpertPlacement(
            width: 4, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [7]))
        let near = try ExpertPlacement(
            width: 4, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [0]))
        #expect(throws: PlacementError.invalidPlan("layer 1, expert 2: rank 7 is not in a world of 3")) {
            _ = try PlacementPlan(
                worldSize: 3,
                layers: [LayerPlacement(experts: [near]), LayerPlacement(experts: [near, near, far])])
        }
    }

    @Test func oneNodeUnlessSaid() throws {
        #expect(try PlacementPlan(worldSize: 3, layers: []).nodes == [0, 0, 0])
        #expect(Cluster(worldSize: 2) == Cluster(nodes: [0, 0]))
    }

    @Test func modelsAndClustersCode() throws {
        let data = try JSONEncoder().encode(model)
        #expect(try JSONDecoder().decode(ExpertModel.self, from: data) == model)
        #expect(String(decoding: data, as: UTF8.self).contains("hidden_size"))
        let cluster = Cluster(nodes: [0, 1, 1])
        #expect(try JSONDecoder().decode(Cluster.self, from: JSONEncoder().encode(cluster)) == cluster)
    }

    @Test func samplesCode() throws {
        let sample = PerformanceSample(
            firstStep: 10, stepCount: 5, planRevision: 2, stepSeconds: 1.5, phaseSeconds: ["experts": 0.75],
            bytesSent: 1024, tokens: 640, residentBytes: 1 << 30, expertLoads: [[1, 2], [3, 4]], loss: 2.5)
        let data = try JSONEncoder().encode(sample)
        #expect(try JSONDecoder().decode(PerformanceSample.self, from: data) == sample)
        let text = String(decoding: data, as: UTF8.self)
        for key in ["first_step", "step_count", "plan_revision", "phase_seconds", "bytes_sent", "expert_loads"] {
            #expect(text.contains(key))
        }
    }
}
