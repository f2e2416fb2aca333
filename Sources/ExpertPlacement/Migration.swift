/// How a model's experts get from one plan to another, layer by layer.
public struct Migration: Hashable, Sendable {
    /// Layers from 0, with those in which nothing moves.
    public let layers: [LayerMigration]

    /// - Parameters:
    ///   - source: where each layer is now.
    ///   - plan: where it is to be.
    /// - Throws: `PlacementError.invalidPlan` when the layers are not of the same experts.
    public init(
        from source: [LayerPlacement], to plan: PlacementPlan, ownership: OwnershipPolicy
    ) throws(PlacementError) {
        guard source.count == plan.layers.count else {
            throw .invalidPlan("made for \(plan.layers.count) layers, there are \(source.count)")
        }
        var layers = [LayerMigration]()
        for (layer, (old, new)) in zip(source, plan.layers).enumerated() {
            layers.append(
                try LayerMigration(layer: layer, from: old, to: new, ownership: ownership, nodes: plan.nodes))
        }
        self.layers = layers
    }

    /// - Throws: `PlacementError.invalidPlan` when the plans are not for the same ranks and experts.
    public init(
        from source: PlacementPlan, to target: PlacementPlan, ownership: OwnershipPolicy
    ) throws(PlacementError) {
        try Self.check(from: source, to: target)
        try self.init(from: source.layers, to: target, ownership: ownership)
    }

    /// - Throws: `PlacementError.invalidPlan` when the plans are not for the same ranks and experts.
    static func check(from source: PlacementPlan, to target: PlacementPlan) throws(PlacementError) {
        guard source.worldSize == target.worldSize, source.layers.count == target.layers.count else {
            throw .invalidPlan(
                "made for \(target.layers.count) layers on \(target.worldSize) ranks, the plan before it for "
                    + "\(source.layers.count) on \(source.worldSize)")
        }
        for (layer, (old, new)) in zip(source.layers, target.layers).enumerated() {
            try LayerMigration.check(layer: layer, from: old, to: new, worldSize: target.worldSize)
        }
    }

    /// Bytes that leave all ranks together.
    public func bytes(hiddenSize: Int) -> Int {
        layers.reduce(0) { $0 + $1.bytes(hiddenSize: hiddenSize) }
    }
}
