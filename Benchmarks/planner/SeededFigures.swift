import ExpertPlacement
import Foundation
import Randomness

/// One drawn case: loads, and how even they are under both planners with the same slots.
struct SeededFigures: Encodable {
    let kind: String
    let seed: Int
    let ranks: Int
    let slots: Int
    let loads: [Double]
    /// Maximum over mean rank load.
    let planner: Double
    let balancer: Double
    /// The lower bound over the mean: no placement is better.
    let bound: Double
    /// The best there is, where a small case allows to find it.
    let exact: Double?

    private static let kinds = [
        "dirichlet 0.1", "dirichlet 0.3", "dirichlet 1", "zipf 0.5", "zipf 1", "zipf 1.5", "uniform", "one hot expert",
        "one hot rank", "rotating hot spot", "idle expert", "burst",
    ]

    static func all() throws -> [SeededFigures] {
        var figures = [SeededFigures]()
        for (index, kind) in kinds.enumerated() {
            for seed in 0..<60 {
                let generator = CounterBasedGenerator(seed: UInt64(seed), purpose: "planner benchmark", keys: [index])
                // The last ones are small enough to know the best.
                let isSmall = seed >= 40
                let ranks =
                    isSmall
                    ? 2 + generator.integer(at: 0, below: 7)
                    : [2, 4, 8, 16, 32, 72, 144][generator.integer(at: 0, below: 7)]
                let experts = isSmall ? 8 : [8, 16, 32, 64, 128, 256][generator.integer(at: 1, below: 6)]
                // Slots of all ranks alike: the experts and up to 64 spare replicas.
                let least = (experts + ranks - 1) / ranks
                let most = max(least, (experts + (isSmall ? 8 : 64)) / ranks)
                let slots = least + generator.integer(at: 2, below: most - least + 1)
                let loads = loads(kind, experts, ranks: ranks, seed: seed, generator)
                figures.append(try figure(kind, seed: seed, ranks: ranks, slots: slots, loads: loads))
            }
        }
        return figures
    }

    private static func figure(
        _ kind: String, seed: Int, ranks: Int, slots: Int, loads: [Double]
    ) throws -> SeededFigures {
        let seconds = [Double](repeating: 1, count: ranks)
        let problem = try ReplicaProblem(
            loads: loads, secondsPerRow: seconds, slots: [Int](repeating: slots, count: ranks))
        let mean = max(1, loads.reduce(0, +)) / Double(ranks)
        let decision = try ReplicaBalancer(replicas: slots * ranks, ranks: ranks).balance(loads)
        var balanced = [Double](repeating: 0, count: ranks)
        for (slot, expert) in decision.experts.enumerated() {
            balanced[slot / slots] += loads[expert] / Double(decision.counts[expert])
        }
        // Beyond four ranks the planner itself looks through no placements, so this judges its search.
        let exact = seed < 40 ? nil : ExactReplicaPlanner(limit: 50_000).plan(problem)
        return SeededFigures(
            kind: kind, seed: seed, ranks: ranks, slots: slots, loads: loads,
            planner: ReplicaPlanner().plan(problem).seconds(loads, secondsPerRow: seconds) / mean,
            balancer: (balanced.max() ?? 0) / mean, bound: problem.lowerBound / mean,
            exact: exact.map { $0.seconds(loads, secondsPerRow: seconds) / mean })
    }

    private static func loads(
        _ kind: String, _ experts: Int, ranks: Int, seed: Int, _ generator: CounterBasedGenerator
    ) -> [Double] {
        func uniform(_ index: Int) -> Double { generator.uniform(at: UInt64(100 + index)) }
        let tokens = 65_536.0
        let words = kind.split(separator: " ")
        let weights: [Double]
        switch words[0] {
        case "dirichlet":
            let concentration = Double(words[1]) ?? 1
            weights = (0..<experts).map { gamma(concentration, generator, UInt64(1000 + 100 * $0)) }
        case "zipf":
            let exponent = Double(words[1]) ?? 1
            let order = (0..<experts).sorted { uniform($0) < uniform($1) }
            weights = order.map { pow(Double($0 + 1), -exponent) }
        case "uniform": weights = (0..<experts).map { _ in 1 }
        case "one": weights = (0..<experts).map { $0 < (words[2] == "rank" ? max(1, experts / ranks) : 1) ? 30 : 1 }
        case "rotating": weights = (0..<experts).map { ($0 + seed) % experts < max(1, experts / 8) ? 10 : 1 }
        case "idle": weights = (0..<experts).map { $0 == 0 ? 0 : uniform($0) }
        default: weights = (0..<experts).map { $0 == seed % experts ? Double(experts) : uniform($0) }
        }
        let sum = weights.reduce(0, +)
        return weights.map { ($0 / sum * tokens).rounded() }
    }

    /// A gamma variate by Marsaglia and Tsang 2000 (doi:10.1145/358407.358414); below 1 by a power of a uniform number.
    private static func gamma(_ shape: Double, _ generator: CounterBasedGenerator, _ start: UInt64) -> Double {
        if shape < 1 {
            return gamma(shape + 1, generator, start + 1) * pow(generator.uniform(at: start), 1 / shape)
        }
        let d = shape - 1.0 / 3
        for attempt in 0..<40 {
            let normal = generator.normal(at: start + 2 * UInt64(attempt))
            let cube = pow(1 + normal / (3 * d.squareRoot()), 3)
            let uniform = generator.uniform(at: start + 2 * UInt64(attempt) + 1)
            guard cube > 0 else { continue }
            let bound = normal * normal / 2 + d - d * cube + d * log(cube)
            if log(max(uniform, 1e-300)) < bound { return d * cube }
        }
        return d
    }
}
