/// How one layer's experts get from one placement to another: who sends which neurons to whom.
///
/// A rank holds the weights of the neurons that it computes with or owns; in fp32 these are the master weights too, and
/// count once. It holds both moments of the neurons that it owns. What a rank holds already never moves, and what it lacks
/// it gets once, so no list of transfers has fewer bytes.
public struct LayerMigration: Hashable, Sendable {
    /// Index of the layer among those with experts.
    public let layer: Int
    public let source: LayerPlacement
    public let target: LayerPlacement
    public let ownership: OwnershipPolicy
    /// W.
    public let worldSize: Int
    /// Weights on their way, by expert, destination, source and neurons. Of the ranks that have them, those on the
    /// destination's node send, each as much as evens out what all send.
    public let weights: [NeuronTransfer]
    /// Both moments on their way from old owners to new ones, in the same order.
    public let moments: [NeuronTransfer]

    /// - Parameter nodes: node of each rank, W entries.
    /// - Throws: `PlacementError.invalidPlan` when the placements are not of the same experts, or name other ranks.
    public init(
        layer: Int, from source: LayerPlacement, to target: LayerPlacement, ownership: OwnershipPolicy, nodes: [Int]
    ) throws(PlacementError) {
        try Self.check(layer: layer, from: source, to: target, worldSize: nodes.count)
        self.layer = layer
        self.source = source
        self.target = target
        self.ownership = ownership
        worldSize = nodes.count

        var sources = TransferSources(nodes: nodes)
        var (weights, moments) = ([NeuronTransfer](), [NeuronTransfer]())
        Self.forEachExchange(layer: layer, from: source, to: target, ownership, worldSize: nodes.count) {
            expert, parts, have, need in
            let (old, new) = (source.experts[expert], target.experts[expert])
            let transfers = sources.transfers(
                expert: expert, from: have, to: need, cost: parts,
                uncut: { neuron, source, destination in
                    // Within what a rank computes with, or beyond it: never across.
                    parts == Self.moments || !old.isBound(neuron, of: source) && !new.isBound(neuron, of: destination)
                })
            if parts == Self.moments { moments += transfers } else { weights += transfers }
        }
        self.weights = weights
        self.moments = moments
    }

    /// Parts of a neuron's state that travel together: both moments, or the weights.
    static let moments = 2

    /// What ranks have and what they need of each expert that moves: moments of all of them first, since they have one
    /// source only and weights can make up for it, then weights.
    static func forEachExchange(
        layer: Int, from source: LayerPlacement, to target: LayerPlacement, _ ownership: OwnershipPolicy,
        worldSize: Int, _ body: (_ expert: Int, _ parts: Int, _ have: [RankRange], _ need: [RankRange]) -> Void
    ) {
        let moved = target.experts.indices.filter { source.experts[$0].moves(to: target.experts[$0]) }
        for expert in moved {
            func owners(_ placement: LayerPlacement) -> [RankRange] {
                placement.experts[expert].owners(ownership, layer: layer, expert: expert, worldSize: worldSize)
            }
            body(expert, moments, owners(source), owners(target))
        }
        for expert in moved {
            func holders(_ placement: LayerPlacement) -> [RankRange] {
                placement.experts[expert].holders(ownership, layer: layer, expert: expert, worldSize: worldSize)
            }
            body(expert, 1, holders(source), holders(target))
        }
    }

    /// - Throws: `PlacementError.invalidPlan` when the placements are not of the same experts, or name other ranks.
    static func check(
        layer: Int, from source: LayerPlacement, to target: LayerPlacement, worldSize: Int
    ) throws(PlacementError) {
        let widths = source.experts.map(\.width)
        guard target.experts.map(\.width) == widths else {
            throw .invalidPlan(
                "layer \(layer): experts of widths \(widths) cannot become ones of \(target.experts.map(\.width))")
        }
        for placement in [source, target] {
            for expert in placement.experts {
                guard let rank = expert.mesh.ranks.first(where: { $0 >= worldSize }) else { continue }
                throw .invalidPlan("layer \(layer): rank \(rank) is not in a world of \(worldSize)")
            }
        }
    }

    /// The experts that some rank holds other neurons of afterwards.
    public var movedExperts: [Int] {
        target.experts.indices.filter { source.experts[$0].moves(to: target.experts[$0]) }
    }

    /// Bytes of one neuron's weights, or of one of its moments: a row of w1, a row of w3 and a column of w2 in fp32.
    public static func neuronBytes(hiddenSize: Int) -> Int { 3 * hiddenSize * MemoryLayout<Float>.stride }

    /// Bytes that leave all ranks together.
    public func bytes(hiddenSize: Int) -> Int {
        bytes(hiddenSize) { _ in true }
    }

    /// Bytes that leave `rank`.
    public func bytesSent(by rank: Int, hiddenSize: Int) -> Int {
        bytes(hiddenSize) { $0.source == rank }
    }

    private func bytes(_ hiddenSize: Int, _ counts: (NeuronTransfer) -> Bool) -> Int {
        func neurons(_ transfers: [NeuronTransfer]) -> Int {
            transfers.reduce(0) { counts($1) ? $0 + $1.neurons.count : $0 }
        }
        return (neurons(weights) + 2 * neurons(moments)) * Self.neuronBytes(hiddenSize: hiddenSize)
    }
}

extension ExpertPlacement {
    /// Whether some rank holds other neurons under `other`.
    fileprivate func moves(to other: ExpertPlacement) -> Bool {
        if mesh.ranks != other.mesh.ranks { return true }
        return mesh == other.mesh && cuts == other.cuts ? false : residents != other.residents
    }

    /// Which ranks have which neurons' weights: those that compute with them, and those that own them. Ranges of one rank
    /// may overlap.
    public func holders(_ ownership: OwnershipPolicy, layer: Int, expert: Int, worldSize: Int) -> [RankRange] {
        switch ownership {
        case .colocated: residents  // Owners are among them.
        case .decoupled: residents + owners(ownership, layer: layer, expert: expert, worldSize: worldSize)
        }
    }

    /// Whether what `rank` computes with begins or ends at `neuron`.
    fileprivate func isBound(_ neuron: Int, of rank: Int) -> Bool {
        residentNeurons(of: rank).map { $0.lowerBound == neuron || $0.upperBound == neuron } ?? false
    }
}
