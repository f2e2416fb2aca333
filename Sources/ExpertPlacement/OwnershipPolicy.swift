/// Which ranks own the optimizer state (master weights, both moments) of an expert's neurons.
public enum OwnershipPolicy: String, Sendable, CaseIterable, Codable {
    /// The ranks that compute with the expert: a shard's neurons are cut evenly over its replicas, as veScale's
    /// `MoEOptimizer` has it. State moves with the expert.
    case colocated
    /// All ranks, for good: an expert's neurons are cut evenly over them, so that a new placement moves no state. After
    /// SwiftMoE (Skiadopoulos et al. 2025, arXiv:2504.19925).
    case decoupled

    public static let defaultPolicy = OwnershipPolicy.colocated
}

extension ExpertPlacement {
    /// Which rank owns which neurons, ascending, pieces without neurons left out.
    /// - Parameters:
    ///   - layer: with `expert`, the place of this expert in the model, which decides where decoupled state begins.
    ///   - worldSize: W, above every rank of the mesh.
    public func owners(_ policy: OwnershipPolicy, layer: Int, expert: Int, worldSize: Int) -> [RankRange] {
        switch policy {
        case .colocated: owners
        case .decoupled:
            (0..<min(worldSize, width)).map { piece in
                RankRange(
                    rank: (layer + expert + piece) % worldSize, neurons: evenPart(piece, of: worldSize, in: 0..<width))
            }
        }
    }

    /// The neurons whose optimizer state `rank` owns; empty when there are none.
    public func ownedNeurons(
        of rank: Int, _ policy: OwnershipPolicy, layer: Int, expert: Int, worldSize: Int
    ) -> Range<Int> {
        switch policy {
        case .colocated: return ownedNeurons(of: rank)
        case .decoupled:
            // Pieces are larger in front, so those that experts narrower than the world leave empty are the last.
            let start = (layer + expert) % worldSize
            return evenPart((rank - start + worldSize) % worldSize, of: worldSize, in: 0..<width)
        }
    }
}
