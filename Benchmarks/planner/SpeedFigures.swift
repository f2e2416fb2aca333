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
        let plans = anew.map { planner.plan($0) }
        let ratios = zip(plans, anew).map { plan, problem in
            plan.seconds(problem.loads, secondsPerRow: problem.secondsPerRow) * Double(ranks)
                / problem.loads.reduce(0, +)
        }
        return SpeedFigures(
            layers: layers, experts: experts, replicas: replicas, ranks: ranks,
            anewMilliseconds: median(runs) { for problem in anew { _ = planner.plan(problem) } },
            fromCurrentMilliseconds: median(runs) { for problem in moved { _ = planner.plan(problem) } },
            balance: ratios.reduce(0, +) / Double(layers))
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

    private static func median(_ runs: Int, _ body: () -> Void) -> Double {
        let clock = ContinuousClock()
        return (0..<runs).map { _ in clock.measure(body) / .milliseconds(1) }.sorted()[runs / 2]
    }
}
