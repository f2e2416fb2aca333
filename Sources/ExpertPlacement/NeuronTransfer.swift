/// A range of one expert's neurons that goes from one rank to another: the unit of gradient sums, parameter refresh and
/// migration.
public struct NeuronTransfer: Hashable, Sendable {
    public let expert: Int
    public let neurons: Range<Int>
    public let source: Int
    public let destination: Int

    public init(expert: Int, neurons: Range<Int>, source: Int, destination: Int) {
        self.expert = expert
        self.neurons = neurons
        self.source = source
        self.destination = destination
    }
}

extension ExpertPlacement {
    /// Which ranks compute with which neurons, in mesh order.
    public var residents: [RankRange] {
        mesh.ranks.enumerated().map { index, rank in
            RankRange(rank: rank, neurons: neurons(ofShard: index % mesh.tensorParallel))
        }
    }
}

extension LayerPlacement {
    /// Gradients on their way from every resident to the owners, which add them. Ranges that are in place already are left
    /// out, so their bytes are the least that can be sent.
    /// - Parameters:
    ///   - layer: index of this layer among those with experts.
    ///   - worldSize: W.
    public func gradientTransfers(_ ownership: OwnershipPolicy, layer: Int, worldSize: Int) -> [NeuronTransfer] {
        experts.enumerated().flatMap { expert, placement in
            placement.owners(ownership, layer: layer, expert: expert, worldSize: worldSize).flatMap { owner in
                placement.residents.compactMap { resident in
                    guard resident.rank != owner.rank else { return nil }
                    let neurons = owner.neurons.clamped(to: resident.neurons)
                    return neurons.isEmpty
                        ? nil
                        : NeuronTransfer(
                            expert: expert, neurons: neurons, source: resident.rank, destination: owner.rank)
                }
            }
        }
    }

    /// Updated weights on their way from the owners to the other residents.
    public func refreshTransfers(_ ownership: OwnershipPolicy, layer: Int, worldSize: Int) -> [NeuronTransfer] {
        gradientTransfers(ownership, layer: layer, worldSize: worldSize).map {
            NeuronTransfer(expert: $0.expert, neurons: $0.neurons, source: $0.destination, destination: $0.source)
        }
    }
}
