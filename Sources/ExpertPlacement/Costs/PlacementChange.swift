/// What has to arrive at each rank when one layer goes from one placement to another, in neurons.
public struct PlacementChange: Hashable, Sendable {
    /// Neurons whose weights a rank did not hold, W entries: the price of a further replica.
    public private(set) var replicaNeurons: [Int]
    /// Neurons whose optimizer state a rank did not own, W entries: the price of a new home.
    public private(set) var homeNeurons: [Int]

    /// - Precondition: both layers have the same experts, and their ranks are below `worldSize`.
    public init(from old: LayerPlacement, to new: LayerPlacement, worldSize: Int) {
        replicaNeurons = [Int](repeating: 0, count: worldSize)
        homeNeurons = replicaNeurons
        for (old, new) in zip(old.experts, new.experts) where old.mesh != new.mesh || old.cuts != new.cuts {
            for resident in new.residents {
                let held = old.residentNeurons(of: resident.rank) ?? 0..<0
                replicaNeurons[resident.rank] += resident.neurons.count - resident.neurons.clamped(to: held).count
            }
            for owner in new.owners {
                let owned = old.ownedNeurons(of: owner.rank)
                homeNeurons[owner.rank] += owner.neurons.count - owner.neurons.clamped(to: owned).count
            }
        }
    }

    public var isEmpty: Bool { replicaNeurons.allSatisfy { $0 == 0 } && homeNeurons.allSatisfy { $0 == 0 } }
}
