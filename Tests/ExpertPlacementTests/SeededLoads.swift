import ExpertPlacement
import Foundation
import Randomness

/// Loads and clusters drawn from a seed.
struct SeededLoads {
    enum Kind: CaseIterable { case dirichlet, zipf, uniform, oneHot, hotRank, idle, burst }

    private let generator: CounterBasedGenerator
    private var index: UInt64 = 0

    init(seed: UInt64) {
        generator = CounterBasedGenerator(seed: seed, purpose: "planner tests")
    }

    mutating func uniform() -> Double {
        index += 1
        return generator.uniform(at: index)
    }

    mutating func integer(_ range: ClosedRange<Int>) -> Int {
        index += 1
        return range.lowerBound + generator.integer(at: index, below: range.count)
    }

    mutating func loads(_ kind: Kind, experts: Int) -> [Double] {
        switch kind {
        case .dirichlet:
            // A Dirichlet draw of small concentration, closely enough: powers of uniform numbers.
            let power = 1 / (0.1 + 0.9 * uniform())
            return (0..<experts).map { _ in (1000 * Foundation.pow(uniform(), power)).rounded() }
        case .zipf:
            let exponent = 0.5 + uniform()
            return (0..<experts).map { (10_000 * Foundation.pow(Double($0 + 1), -exponent)).rounded() }
        case .uniform: return [Double](repeating: 100, count: experts)
        case .oneHot: return (0..<experts).map { $0 == 0 ? 5000 : 100 }
        case .hotRank: return (0..<experts).map { $0 < max(1, experts / 8) ? 2000 : 100 }
        case .idle: return (0..<experts).map { _ in uniform() < 0.5 ? 0 : (1000 * uniform()).rounded() }
        case .burst:
            let hot = integer(0...experts - 1)
            return (0..<experts).map { $0 == hot ? 20_000 : (1000 * uniform()).rounded() }
        }
    }

    /// Slots, speeds and, half the time, a plan in force.
    mutating func problem(_ kind: Kind, experts: Int, ranks: Int, alike: Bool = false) throws -> ReplicaProblem {
        let each = (experts + ranks - 1) / ranks + integer(0...3)
        let slots = (0..<ranks).map { _ in alike ? each : each + integer(0...2) }
        let seconds = (0..<ranks).map { _ in alike ? 1 : 1 + uniform() }
        let loads = loads(kind, experts: experts)
        let total = slots.map { min($0, experts) }.reduce(0, +)
        var current: [[Int]]?
        if uniform() < 0.5 {
            current = try ReplicaPlanner().plan(
                ReplicaProblem(
                    loads: loads.reversed(), secondsPerRow: seconds, slots: slots,
                    replicaLimit: integer(experts...total))
            ).ranks
        }
        return try ReplicaProblem(
            loads: loads, deviations: loads.map { $0.squareRoot() }, secondsPerRow: seconds, slots: slots,
            replicaLimit: integer(experts...total), current: current)
    }
}
