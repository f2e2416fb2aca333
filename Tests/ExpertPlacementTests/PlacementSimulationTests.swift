import ExpertPlacement
import TestSupport
import Testing

/// A simulation takes the time that the cost model says, and moves what migrations move.
@Suite struct PlacementSimulationTests {
    private static let model = ExpertModel(
        hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 128, count: 16), count: 3))

    private static func loads(_ generator: inout SeededGenerator, steps: Int) -> [[Int]] {
        let skew = Int.random(in: 1...200, using: &generator)
        return model.layers.map { layer in
            layer.map { _ in steps * (Int.random(in: 0...100, using: &generator) < 20 ? 10 * skew : 30) }
        }
    }

    private static func cluster(_ generator: inout SeededGenerator, ranks: Int) -> Cluster {
        Cluster(
            nodes: Cluster.nodes(ranks: ranks, nodes: Int.random(in: 1...2, using: &generator)), memoryLimits: nil,
            exchange: ExchangeCosts(latencySeconds: 1e-5, bytesPerSecond: 1e9),
            exchangeBetweenNodes: Bool.random(using: &generator)
                ? ExchangeCosts(latencySeconds: 1e-4, bytesPerSecond: 1e8) : nil,
            ownership: Bool.random(using: &generator) ? .colocated : .decoupled)
    }

    @Test(arguments: ["tensor-parallel", "expert-parallel", "replicated", "dp=2,tp=2"])
    func staticPoliciesTakeWhatTheCostModelSays(policy: String) throws {
        var generator = SeededGenerator(seed: TestRuns.seed())
        for _ in 0..<20 {
            let ranks = Int.random(in: 4...9, using: &generator)
            let cluster = Self.cluster(&generator, ranks: ranks)
            var costs = CostEstimate().costs(model: Self.model, cluster: cluster)
            costs.slowness = (0..<ranks).map { _ in Double.random(in: 0.8...1.25, using: &generator) }
            var simulation = try PlacementSimulation(
                policy: policy, model: Self.model, cluster: cluster, costs: costs)
            var seconds = 0.0
            for number in 0..<5 {
                let loads = Self.loads(&generator, steps: 10)
                let outcome = try simulation.advance(
                    SimulatedInterval(
                        firstStep: 1 + 10 * number, stepCount: 10, expertLoads: loads, denseSeconds: 0.25))
                let expected = zip(simulation.plan.layers, loads).enumerated().reduce(0.0) { sum, pair in
                    let (layer, (placement, loads)) = pair
                    return sum
                        + LayerPrediction(
                            placement, loads: loads.map { Double($0) / 10 }, deviations: loads.map { _ in 0 },
                            caution: 0,
                            costs: costs, hiddenSize: 64, worldSize: ranks, layer: layer
                        ).seconds
                }
                #expect(abs(outcome.stepSeconds - expected - 0.25) < 1e-12)
                #expect(outcome.bytesMoved == 0 && !outcome.isReplanned && outcome.planRevision == 1)
                seconds += outcome.stepSeconds * 10
            }
            #expect(abs(simulation.totals.meanStepSeconds * 50 - seconds) < 1e-9)
            #expect(simulation.totals.steps == 50 && simulation.totals.plans == 0)
        }
    }

    @Test func evenLoadsAreBalanced() throws {
        let cluster = Cluster(worldSize: 8)
        let costs = CostEstimate().costs(model: Self.model, cluster: cluster)
        let loads = Self.model.layers.map { $0.map { _ in 500 } }
        for policy in ["expert-parallel", "tensor-parallel", "load-balanced"] {
            var simulation = try PlacementSimulation(
                policy: policy, model: Self.model, cluster: cluster, costs: costs)
            for number in 0..<4 {
                let outcome = try simulation.advance(
                    SimulatedInterval(firstStep: 1 + 5 * number, stepCount: 5, expertLoads: loads))
                #expect(abs(outcome.balance - 1) < 1e-9, "\(policy)")
            }
            #expect(simulation.totals.bytesMoved == 0, "\(policy)")
        }
    }

    /// Each rank gets once what it lacks; with an interval's steps for every layer, a plan is in force before the next.
    @Test(arguments: [nil, 1] as [Int?])
    func movesAreTheLowerBound(budget: Int?) throws {
        var generator = SeededGenerator(seed: TestRuns.seed())
        var moved = 0
        for _ in 0..<10 {
            let cluster = Self.cluster(&generator, ranks: Int.random(in: 2...6, using: &generator))
            let costs = CostEstimate().costs(model: Self.model, cluster: cluster)
            var simulation = try PlacementSimulation(
                policy: "load-balanced:life=100000", model: Self.model, cluster: cluster, costs: costs,
                options: PlacementSimulation.Options(migrationBudgetBytes: budget))
            for number in 0..<6 {
                let before = simulation.plan
                let outcome = try simulation.advance(
                    SimulatedInterval(
                        firstStep: 1 + 10 * number, stepCount: 10, expertLoads: Self.loads(&generator, steps: 10)))
                let change = zip(before.layers, simulation.plan.layers).enumerated().map { layer, pair in
                    PlacementChange(
                        from: pair.0, to: pair.1, worldSize: cluster.worldSize, ownership: cluster.ownership,
                        layer: layer)
                }
                let neurons = change.reduce(0) {
                    $0 + $1.replicaNeurons.reduce(0, +) + 2 * $1.homeNeurons.reduce(0, +)
                }
                #expect(outcome.bytesMoved == neurons * LayerMigration.neuronBytes(hiddenSize: 64))
                #expect((outcome.moveSeconds > 0) == (neurons > 0))
                moved += neurons
            }
        }
        #expect(moved > 0)
    }

    /// With two ranks one of them sends or receives half of the bytes at least.
    @Test func movesBetweenNodesTakeLonger() throws {
        let cluster = Cluster(
            nodes: [0, 1], memoryLimits: nil, exchange: ExchangeCosts(latencySeconds: 0, bytesPerSecond: 1e9),
            exchangeBetweenNodes: ExchangeCosts(latencySeconds: 0, bytesPerSecond: 1e7))
        var simulation = try PlacementSimulation(
            policy: "load-balanced:life=1000000", model: Self.model, cluster: cluster,
            costs: CostEstimate().costs(model: Self.model, cluster: cluster))
        let loads = Self.model.layers.map { $0.indices.map { $0 % 2 == 0 ? 8000 : 40 } }
        for number in 0..<4 {
            _ = try simulation.advance(
                SimulatedInterval(firstStep: 1 + 10 * number, stepCount: 10, expertLoads: loads))
        }
        let bytes = Double(simulation.totals.bytesMoved)
        #expect(bytes > 0 && simulation.totals.moveSeconds >= MigrationBudget.slowness * bytes / 2 / 1e7 * (1 - 1e-9))
    }

    /// Before a step moves what half a step takes, once something has moved by how fast that was.
    @Test func budgetsFollowTheLastMove() throws {
        let cluster = Cluster(
            nodes: [0, 0, 0, 0], memoryLimits: nil,
            exchange: ExchangeCosts(latencySeconds: 0, bytesPerSecond: 1e9))
        var simulation = try PlacementSimulation(
            policy: "load-balanced:life=1000000", model: Self.model, cluster: cluster,
            costs: CostEstimate().costs(model: Self.model, cluster: cluster))
        let outcomes = try (0..<16).map { number in
            let loads = Self.model.layers.map { $0.indices.map { $0 % 4 == number / 8 ? 1000 : 1 } }
            return try simulation.advance(
                SimulatedInterval(firstStep: 1 + number, stepCount: 1, expertLoads: loads))
        }
        #expect(outcomes[8].isReplanned && outcomes[7].planRevision == 2)
        let first = outcomes[..<8]
        let rate = Double(first.reduce(0) { $0 + $1.bytesMoved }) / first.reduce(0) { $0 + $1.moveSeconds }
        let second = outcomes[9...].filter { $0.bytesMoved > 0 }
        #expect(second.count > 1)
        for outcome in second { #expect(Double(outcome.bytesMoved) <= 0.5 * outcomes[8].stepSeconds * rate) }
    }

    /// The planner learns from reports which rank is slow, and gives it less.
    @Test func slowRanksGetLess() throws {
        let cluster = Cluster(worldSize: 4)
        var costs = CostEstimate().costs(model: Self.model, cluster: cluster)
        costs.slowness = [1, 1, 1, 2]
        var simulation = try PlacementSimulation(
            policy: "load-balanced:life=1000000", model: Self.model, cluster: cluster, costs: costs)
        let loads = Self.model.layers.map { $0.map { _ in 5000 } }
        let outcomes = try (0..<10).map {
            try simulation.advance(SimulatedInterval(firstStep: 1 + 10 * $0, stepCount: 10, expertLoads: loads))
        }
        #expect(outcomes[9].expertSeconds < 0.8 * outcomes[0].expertSeconds, "\(outcomes.map(\.expertSeconds))")
    }

    /// A layer a step: two steps are too few for three layers, so the third switches in the next interval.
    @Test func plansTakeSeveralSteps() throws {
        let cluster = Cluster(worldSize: 4)
        let costs = CostEstimate().costs(model: Self.model, cluster: cluster)
        var simulation = try PlacementSimulation(
            policy: "load-balanced:life=1000000", model: Self.model, cluster: cluster, costs: costs,
            options: PlacementSimulation.Options(migrationBudgetBytes: 1))
        let loads = Self.model.layers.map { $0.indices.map { $0 % 4 == 0 ? 8000 : 40 } }
        var outcomes = [IntervalOutcome]()
        for number in 0..<4 {
            outcomes.append(
                try simulation.advance(
                    SimulatedInterval(firstStep: 1 + 2 * number, stepCount: 2, expertLoads: loads)))
        }
        #expect(outcomes[0].isReplanned && outcomes[0].bytesMoved == 0)
        // Under way until the third layer has switched; no other plan is made meanwhile.
        #expect(outcomes[1].bytesMoved > 0 && outcomes[1].planRevision == 1 && !outcomes[1].isReplanned)
        #expect(outcomes[2].bytesMoved > 0 && outcomes[2].planRevision == 2)
        #expect(outcomes[1].bytesMoved == 2 * outcomes[2].bytesMoved)
        #expect(outcomes[2].balance > outcomes[0].balance && outcomes[2].expertSeconds < outcomes[0].expertSeconds)
        // The second interval's first step has one layer switched, its second two.
        let gain = (outcomes[0].expertSeconds - outcomes[2].expertSeconds) / 3
        #expect(abs(outcomes[0].expertSeconds - 1.5 * gain - outcomes[1].expertSeconds) < 1e-9)
    }

    /// Loads that stay get one plan, not one in every interval.
    @Test func stillLoadsAreLeftAlone() throws {
        let cluster = Cluster(worldSize: 4)
        let costs = CostEstimate().costs(model: Self.model, cluster: cluster)
        var simulation = try PlacementSimulation(
            policy: "load-balanced", model: Self.model, cluster: cluster, costs: costs)
        let loads = Self.model.layers.map { $0.indices.map { 1000 / ($0 + 1) } }
        for number in 0..<20 {
            _ = try simulation.advance(
                SimulatedInterval(firstStep: 1 + 10 * number, stepCount: 10, expertLoads: loads))
        }
        #expect((1...2).contains(simulation.totals.plans))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let cluster = Cluster(worldSize: 4)
        let costs = CostEstimate().costs(model: Self.model, cluster: cluster)
        func make(_ policy: String, _ cluster: Cluster, _ model: ExpertModel = Self.model) throws -> PlacementSimulation
        {
            try PlacementSimulation(policy: policy, model: model, cluster: cluster, costs: costs)
        }
        #expect(throws: PlacementError.self) { _ = try make("best", cluster) }
        #expect(throws: PlacementError.self) {
            _ = try make("replicated", Cluster(nodes: [0, 0, 0, 0], memoryLimits: [1, 1, 1, 1]))
        }
        // 200 layers of 64 experts on 1,000 ranks each are over the limit of one plan.
        let large = ExpertModel(
            hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 2048, count: 64), count: 200))
        for policy in ["tensor-parallel", "replicated", "dp=500,tp=2", "eplb:slots=64"] {
            #expect(throws: PlacementError.self) { _ = try make(policy, Cluster(worldSize: 1000), large) }
        }
        var simulation = try make("expert-parallel", cluster)
        #expect(throws: PlacementError.self) {
            _ = try simulation.advance(SimulatedInterval(firstStep: 1, stepCount: 1, expertLoads: [[1]]))
        }
        let loads = Self.model.layers.map { $0.map { _ in 1 } }
        #expect(throws: PlacementError.self) {
            _ = try simulation.advance(SimulatedInterval(firstStep: 1, stepCount: 0, expertLoads: loads))
        }
    }
}
