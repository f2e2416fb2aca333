import ExpertPlacement
import Foundation
import Randomness

/// Milliseconds to plan a model on one core, the median of some runs.
struct SpeedFigures: Encodable {
    let layers: Int
    let experts: Int
    let replicas: Int
    let ranks: Int
    /// Made anew, and from the plan for slightly other loads.
    let anewMilliseconds: Double
    let fromCurrentMilliseconds: Double
    /// The whole allocator's decision, from the plan for slightly other loads: replicas only, and with shards.
    let allocatorMilliseconds: Double
    let shardsMilliseconds: Double
    /// Maximum over mean rank load of the plans made anew, the mean over layers.
    let balance: Double

    static func all() throws -> [SpeedFigures] {
        try [(1, 32, 64, 16, 101), (58, 256, 288, 32, 11), (58, 256, 2304, 1024, 3)].map {
            try measure(layers: $0.0, experts: $0.1, replicas: $0.2, ranks: $0.3, runs: $0.4)
        }
    }

    private static func measure(
        layers: Int, experts: Int, replicas: Int, ranks: Int, runs: Int
    ) throws -> SpeedFigures {
        let generator = CounterBasedGenerator(seed: 1, purpose: "planner speed", keys: [experts, ranks])
        let planner = ReplicaPlanner()
        var (anew, moved) = ([ReplicaProblem](), [ReplicaProblem]())
        for layer in 0..<layers {
            let indices = (0..<experts).map { UInt64(2 * (layer * experts + $0)) }
            let loads = indices.map { -log(1 - generator.uniform(at: $0)) * 1000 }
            anew.append(try problem(loads, replicas: replicas, ranks: ranks, current: nil))
            let later = zip(indices, loads).map { $1 * (0.95 + 0.1 * generator.uniform(at: $0 + 1)) }
            let current = planner.plan(anew[layer]).ranks
            moved.append(try problem(later, replicas: replicas, ranks: ranks, current: current))
        }
        let slots = (replicas + ranks - 1) / ranks
        let plans = anew.map { planner.plan($0) }
        let ratios = zip(plans, anew).map { plan, problem in
            plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow) * Double(ranks)
                / problem.loads.reduce(0, +)
        }
        return SpeedFigures(
            layers: layers, experts: experts, replicas: replicas, ranks: ranks,
            anewMilliseconds: median(runs) { for problem in anew { _ = planner.plan(problem) } },
            fromCurrentMilliseconds: median(runs) { for problem in moved { _ = planner.plan(problem) } },
            allocatorMilliseconds: try allocator("replicas", anew, moved, slots: slots, runs: runs),
            shardsMilliseconds: try allocator("any", anew, moved, slots: slots, runs: runs),
            balance: ratios.reduce(0, +) / Double(layers))
    }

    /// `load-balanced`, for experts of 1,024 × 4,096, from its own plan for the loads before.
    private static func allocator(
        _ shapes: String, _ before: [ReplicaProblem], _ after: [ReplicaProblem], slots: Int, runs: Int
    ) throws -> Double {
        let model = ExpertModel(hiddenSize: 1024, layers: before.map { $0.loads.map { _ in 4096 } })
        let cluster = Cluster(worldSize: before[0].worldSize)
        var allocator = try Allocators.make(named: "load-balanced:shapes=\(shapes),slots=\(slots)")
        func allocate(_ plan: PlacementPlan?) throws -> PlacementPlan? {
            try allocator.allocateExperts(current: plan, model: model, cluster: cluster, step: 0)
        }
        var plan = try allocate(nil)
        for problems in [before, after] {
            let loads = problems.map { $0.loads.map { Int($0) } }
            allocator.collectPerformance(
                PerformanceSample(
                    firstStep: 0, stepCount: 1, planRevision: 0, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                    tokens: 0, residentBytes: 0, expertLoads: loads), rank: 0)
            if problems.first?.current == nil { plan = try allocate(plan) ?? plan }
        }
        let ready = allocator
        return try median(runs) {
            allocator = ready
            _ = try allocate(plan)
        }
    }

    private static func problem(
        _ loads: [Double], replicas: Int, ranks: Int, current: [[Int]]?
    ) throws -> ReplicaProblem {
        try ReplicaProblem(
            loads: loads, deviations: LoadForecast.assumedDeviations(loads),
            secondsPerRow: [Double](repeating: 1, count: ranks),
            slots: [Int](repeating: (replicas + ranks - 1) / ranks, count: ranks), replicaLimit: replicas,
            current: current)
    }

    private static func median(_ runs: Int, _ body: () throws -> Void) rethrows -> Double {
        let clock = ContinuousClock()
        return try (0..<runs).map { _ in try clock.measure(body) / .milliseconds(1) }.sorted()[runs / 2]
    }
}
