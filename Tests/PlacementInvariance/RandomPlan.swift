import ExpertPlacement
import Randomness

/// Draws plans with meshes of any shape, uneven cuts, and fractions of which some are 0.
public struct RandomPlan: Sendable {
    private let generator: CounterBasedGenerator
    private var index: UInt64 = 0

    public init(seed: UInt64) {
        generator = CounterBasedGenerator(seed: seed, purpose: "random plan")
    }

    public mutating func plan(for model: ExpertModel, worldSize: Int) throws -> PlacementPlan {
        var layers = [LayerPlacement]()
        for widths in model.layers {
            var experts = [ExpertPlacement]()
            for width in widths { experts.append(try placement(width: width, worldSize: worldSize)) }
            layers.append(LayerPlacement(experts: experts))
        }
        return try PlacementPlan(worldSize: worldSize, layers: layers)
    }

    public mutating func placement(width: Int, worldSize: Int) throws -> ExpertPlacement {
        let shards = 1 + next(below: min(worldSize, width))
        let replicas = 1 + next(below: worldSize / shards)
        let ranks = Array(shuffled(worldSize).prefix(replicas * shards))
        let cuts = [0] + shuffled(width - 1).prefix(shards - 1).map { $0 + 1 }.sorted() + [width]
        let parts = (0..<replicas).map { _ in next(below: 4) }
        let total = parts.reduce(0, +)
        return try ExpertPlacement(
            width: width, mesh: DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: ranks),
            fractions: total == 0 ? nil : parts.map { Double($0) / Double(total) }, cuts: cuts)
    }

    public mutating func next(below bound: Int) -> Int {
        index += 1
        return generator.integer(at: index, below: bound)
    }

    /// The numbers 0 ..< count in any order (Fisher and Yates).
    private mutating func shuffled(_ count: Int) -> [Int] {
        var numbers = Array(0..<count)
        for index in numbers.indices.dropFirst().reversed() { numbers.swapAt(index, next(below: index + 1)) }
        return numbers
    }
}
