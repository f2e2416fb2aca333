/// What has to arrive at each rank when one layer goes from one placement to another, in neurons.
public struct PlacementChange: Hashable, Sendable {
    /// Neurons whose weights a rank did not hold, W entries: the price of a further replica.
    public private(set) var replicaNeurons: [Int]
    /// Neurons whose optimizer state a rank did not own, W entries: the price of a new home. None where state is spread
    /// over all ranks for good.
    public private(set) var homeNeurons: [Int]

    /// - Parameter layer: index of the layer among those with experts.
    /// - Precondition: both layers have the same experts, and their ranks are below `worldSize`.
    public init(
        from old: LayerPlacement, to new: LayerPlacement, worldSize: Int,
        ownership: OwnershipPolicy = .colocated, layer: Int = 0
    ) {
        replicaNeurons = [Int](repeating: 0, count: worldSize)
        homeNeurons = replicaNeurons
        for (expert, (old, new)) in zip(old.experts, new.experts).enumerated()
        where old.mesh != new.mesh || old.cuts != new.cuts {
            for resident in new.residents {
                let rank = resident.rank
                // At most two ranges that may overlap.
                let computed = resident.neurons.clamped(to: old.residentNeurons(of: rank) ?? 0..<0)
                var held = computed.count
                if ownership == .decoupled {
                    let owned = resident.neurons.clamped(
                        to: old.ownedNeurons(of: rank, ownership, layer: layer, expert: expert, worldSize: worldSize))
                    held += owned.count - owned.clamped(to: computed).count
                }
                replicaNeurons[rank] += resident.neurons.count - held
            }
            guard ownership == .colocated else { continue }
            for owner in new.owners {
                let owned = old.ownedNeurons(of: owner.rank)
                homeNeurons[owner.rank] += owner.neurons.count - owner.neurons.clamped(to: owned).count
            }
        }
    }

    /// Bytes that leave all ranks together in a `LayerMigration`, whoever sends what: weights, and both moments.
    public func bytes(hiddenSize: Int) -> Int {
        (replicaNeurons.reduce(0, +) + 2 * homeNeurons.reduce(0, +))
            * LayerMigration.neuronBytes(hiddenSize: hiddenSize)
    }

    public var isEmpty: Bool { replicaNeurons.allSatisfy { $0 == 0 } && homeNeurons.allSatisfy { $0 == 0 } }
}
