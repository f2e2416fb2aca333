import ExpertParallelism
import ExpertPlacement
import Layers
import Mixtral
import Tensors

/// What a rank's memory holds while it trains, in bytes: worked out from the model and the plan, with experts that get the same
/// number of tokens.
public struct RankMemory: Hashable, Sendable, Encodable {
    public let rank: Int
    public let node: Int
    /// Dense weights, and the experts' that the rank computes with or owns.
    public let weightBytes: Int
    /// Of the same, and the sums of what it owns of the dense ones.
    public let gradientBytes: Int
    /// The two moments of AdamW.
    public let optimizerBytes: Int
    /// What forward passes keep for backward, what the layer at work needs besides, and gradients that arrive meanwhile.
    public let activationBytes: Int
    /// Tokens, which the ranks of a node map and share.
    public let dataBytes: Int
    /// The program itself with its libraries.
    public let processBytes: Int

    public var totalBytes: Int {
        weightBytes + gradientBytes + optimizerBytes + activationBytes + dataBytes + processBytes
    }

    private enum CodingKeys: String, CodingKey {
        case rank, node
        case weightBytes = "weight_bytes"
        case gradientBytes = "gradient_bytes"
        case optimizerBytes = "optimizer_bytes"
        case activationBytes = "activation_bytes"
        case dataBytes = "data_bytes"
        case processBytes = "process_bytes"
        case totalBytes = "total_bytes"
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(rank, forKey: .rank)
        try values.encode(node, forKey: .node)
        try values.encode(weightBytes, forKey: .weightBytes)
        try values.encode(gradientBytes, forKey: .gradientBytes)
        try values.encode(optimizerBytes, forKey: .optimizerBytes)
        try values.encode(activationBytes, forKey: .activationBytes)
        try values.encode(dataBytes, forKey: .dataBytes)
        try values.encode(processBytes, forKey: .processBytes)
        try values.encode(totalBytes, forKey: .totalBytes)
    }
}

extension RankMemory {
    /// Code, BLAS and MPI of a rank that holds nothing yet, and what oneDNN compiles and packs factors into.
    static var idleBytes: Int { (BLASInfo.oneDNNVersion == nil ? 49 : 59) << 20 }

    /// Of all ranks of a job.
    /// - Parameter dataBytes: of the token files.
    static func all(
        _ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions, mesh: DenseMesh,
        dataBytes: Int
    ) -> [RankMemory] {
        let value = MemoryLayout<Float>.stride
        let holdings = RankHoldings.all(
            plan, hiddenSize: configuration.hiddenSize, ownership: options.optimizerPlacement)
        let shares = DenseShares(configuration, mesh: mesh)
        let whole = configuration.parameterCount - configuration.expertParameterCount - shares.whole.reduce(0, +)
        let worldSize = plan.worldSize
        let activations = Activations(configuration, plan: plan, options: options, shares: shares)
        let arriving = arrivingGradients(configuration, plan: plan, options: options, shares: shares)
        return holdings.map { held in
            let share = shares[held.rank]
            let dense = whole + share.sum(\.held)
            let ownedWhole = evenPart(held.rank, of: worldSize, in: 0..<whole).count
            let owned = value * (ownedWhole + share.sum(\.owned))
            let sums = value * ((worldSize > 1 ? ownedWhole : 0) + share.sum(\.sums))
            return RankMemory(
                rank: held.rank, node: held.node, weightBytes: value * dense + held.weightBytes,
                gradientBytes: value * dense + sums + held.weightBytes,
                optimizerBytes: 2 * owned + held.stateBytes,
                activationBytes: activations.bytes(
                    of: held.rank, residentNeurons: held.residentNeurons, arriving: arriving.map { $0[held.rank] }),
                dataBytes: dataBytes, processBytes: idleBytes)
        }
    }
}

extension RankMemory {
    /// Entries of gradients that arrive for each stage, [stage][rank].
    private static func arrivingGradients(
        _ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions, shares: DenseShares
    ) -> [[Double]] {
        let worldSize = plan.worldSize
        let ends = configuration.vocabularySize * configuration.hiddenSize
        let dense =
            [ends] + shares.whole.enumerated().map { configuration.denseParameterCount(ofLayer: $0) - $1 }
            + [(configuration.tiesEmbeddings ? 0 : ends) + configuration.hiddenSize]
        var stages = dense.map { count in
            (0..<worldSize).map { Double((worldSize - 1) * evenPart($0, of: worldSize, in: 0..<count).count) }
        }
        for layer in 0..<configuration.layers {
            for rank in 0..<worldSize { stages[layer + 1][rank] += Double(shares[rank].layers[layer].arriving) }
        }
        for (index, placement) in plan.layers.enumerated() {
            let stage = configuration.sparseLayers[index] + 1
            for transfer in placement.gradientTransfers(options.optimizerPlacement, layer: index, worldSize: worldSize)
            {
                stages[stage][transfer.destination] += Double(3 * configuration.hiddenSize * transfer.neurons.count)
            }
        }
        return stages
    }
}

/// What ranks have of what is cut over the groups of a mesh, attention and the networks that all tokens go through, in entries.
struct DenseShares {
    struct Weights {
        /// Weights; of these, what the rank owns; sums of gradients that are not the gradients themselves; gradients that arrive.
        var held = 0
        var owned = 0
        var sums = 0
        var arriving = 0

        /// - Parameters:
        ///   - count: weights that as many ranks have.
        ///   - index: which of them the rank is.
        mutating func add(_ count: Int, ranks: Int, index: Int) {
            let owned = evenPart(index, of: ranks, in: 0..<count).count
            held += count
            self.owned += owned
            sums += ranks > 1 ? owned : 0
            arriving += (ranks - 1) * owned
        }
    }
    struct Share {
        let heads: Int
        let keyValueHeads: Int
        /// By layer, as are the neurons of its network.
        var layers = [Weights]()
        var neurons = [Int]()

        func sum(_ entries: KeyPath<Weights, Int>) -> Int { layers.reduce(0) { $0 + $1[keyPath: entries] } }
    }
    /// Weights of each layer that are cut: those of all heads without what all ranks have, norms of single heads and the last
    /// projection's bias; and those of all neurons.
    let whole: [Int]
    let mesh: DenseMesh
    /// By place in a group.
    private let shares: [[Share]]

    init(_ configuration: MixtralConfiguration, mesh: DenseMesh) {
        self.mesh = mesh
        let perHead = 2 * configuration.headDimension * configuration.hiddenSize
        // Biases of queries, of keys and values, and the weights of a norm over all heads.
        let bias = configuration.hasAttentionBiases ? configuration.headDimension : 0
        let norm = configuration.queryKeyNorm?.scope == .allHeads ? configuration.headDimension : 0
        let (perQuery, perKey) = (perHead + bias + norm, perHead + 2 * bias + norm)
        let attention = configuration.heads * perQuery + configuration.keyValueHeads * perKey
        let widths = (0..<configuration.layers).map { configuration.networkWidth(ofLayer: $0) }
        whole = widths.map { attention + 3 * configuration.hiddenSize * $0 }
        let cut = HeadCut(
            heads: configuration.heads, keyValueHeads: configuration.keyValueHeads, ranks: mesh.tensorParallel)
        shares = (0..<mesh.dataParallel).map { group in
            cut.parts.enumerated().map { place, part in
                var share = Share(heads: part.heads.count, keyValueHeads: part.keyValueHeads.count)
                // Queries and output, keys and values: those of a key-value head may be on several ranks of a group.
                let sharing = cut.parts.indices.filter { cut.parts[$0].keyValueHeads == part.keyValueHeads }
                var heads = Weights()
                heads.add(share.heads * perQuery, ranks: mesh.dataParallel, index: group)
                heads.add(
                    share.keyValueHeads * perKey, ranks: mesh.dataParallel * sharing.count,
                    index: group * sharing.count + place - sharing[0])
                for width in widths {
                    let neurons = evenPart(place, of: mesh.tensorParallel, in: 0..<width).count
                    share.neurons.append(neurons)
                    var weights = heads
                    weights.add(3 * configuration.hiddenSize * neurons, ranks: mesh.dataParallel, index: group)
                    share.layers.append(weights)
                }
                return share
            }
        }
    }

    subscript(rank: Int) -> Share { shares[mesh.group(of: rank)][mesh.place(of: rank)] }
}
