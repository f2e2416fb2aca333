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
    static var idleBytes: Int { (BLASInfo.oneDNNVersion == nil ? 44 : 54) << 20 }

    /// Of all ranks of a job.
    /// - Parameter dataBytes: of the token files.
    static func all(
        _ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions, dataBytes: Int
    ) -> [RankMemory] {
        let value = MemoryLayout<Float>.stride
        let holdings = RankHoldings.all(
            plan, hiddenSize: configuration.hiddenSize, ownership: options.optimizerPlacement)
        let dense = configuration.parameterCount - 3 * ExpertModel(configuration).size
        let worldSize = plan.worldSize
        let activations = Activations(configuration, plan: plan, options: options)
        // Of dense layers and the head.
        let matrices = Double(
            configuration.layers * (2 * configuration.heads + 2 * configuration.keyValueHeads)
                * configuration.headDimension * configuration.hiddenSize
                + configuration.vocabularySize * configuration.hiddenSize)
        let arriving = arrivingGradients(configuration, plan: plan, options: options)
        return holdings.map { held in
            let owned = value * evenPart(held.rank, of: worldSize, in: 0..<dense).count
            let sums = worldSize > 1 ? owned : 0
            return RankMemory(
                rank: held.rank, node: held.node, weightBytes: value * dense + held.weightBytes,
                gradientBytes: value * dense + sums + held.weightBytes,
                optimizerBytes: 2 * owned + held.stateBytes,
                activationBytes: activations.bytes(
                    of: held.rank, weights: matrices + Double(3 * configuration.hiddenSize * held.residentNeurons),
                    arriving: arriving.map { $0[held.rank] }),
                dataBytes: dataBytes, processBytes: idleBytes)
        }
    }
}

extension RankMemory {
    /// Entries of gradients that arrive for each stage, [stage][rank].
    private static func arrivingGradients(
        _ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions
    ) -> [[Double]] {
        let worldSize = plan.worldSize
        let ends = configuration.vocabularySize * configuration.hiddenSize
        let dense =
            [ends] + plan.layers.map { _ in configuration.denseLayerParameterCount } + [ends + configuration.hiddenSize]
        var stages = dense.map { count in
            (0..<worldSize).map { Double((worldSize - 1) * evenPart($0, of: worldSize, in: 0..<count).count) }
        }
        for (layer, placement) in plan.layers.enumerated() {
            for transfer in placement.gradientTransfers(options.optimizerPlacement, layer: layer, worldSize: worldSize)
            {
                stages[layer + 1][transfer.destination] += Double(3 * configuration.hiddenSize * transfer.neurons.count)
            }
        }
        return stages
    }
}

/// What a training step of one rank holds besides weights and their state.
private struct Activations {
    private struct Layer {
        /// Rows that ranks compute, and rows times neurons.
        let work: RankWork
        /// Rows that a token's rank sends to experts, wherever they are, for each token.
        let copies: Double
        /// The most rows times neurons of one expert, by rank.
        let largest: [Double]

        /// - Parameters:
        ///   - tokens: of all ranks.
        ///   - load: rows of each expert.
        init(_ layer: LayerPlacement, tokens: Double, load: Double, worldSize: Int) {
            var (work, largest) = (RankWork(worldSize: worldSize), [Double](repeating: 0, count: worldSize))
            for expert in layer.experts {
                var one = RankWork(worldSize: worldSize)
                one.add(LayerPlacement(experts: [expert]), loads: [load])
                for rank in expert.mesh.ranks { largest[rank] = max(largest[rank], one.work[rank]) }
            }
            work.add(layer, loads: layer.experts.map { _ in load })
            self.work = work
            self.largest = largest
            copies = work.rows.reduce(0, +) / tokens
        }
    }

    private let configuration: MixtralConfiguration
    private let options: TrainingOptions
    private let worldSize: Int
    private let layers: [Layer]

    init(_ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions) {
        self.configuration = configuration
        self.options = options
        worldSize = plan.worldSize
        let tokens = Double(options.batchSize / options.microBatches * options.sequenceLength)
        let load = tokens * Double(configuration.expertsPerToken) / Double(configuration.experts)
        layers = plan.layers.map { Layer($0, tokens: tokens, load: load, worldSize: plan.worldSize) }
    }

    /// - Parameters:
    ///   - weights: entries of the matrices that the rank multiplies with.
    ///   - arriving: entries of gradients from other ranks, by stage: embedding, layers, head.
    func bytes(of rank: Int, weights: Double, arriving: [Double]) -> Int {
        let blocks = BatchBlocks(options, rank: rank, worldSize: worldSize)
        let sequences = (0..<blocks.microBatches).map { blocks.own(microBatch: $0).count }.max() ?? 0
        // Entries a token: of the model's state, all queries, all keys.
        let tokens = Double(sequences * options.sequenceLength)
        let state = Double(configuration.hiddenSize)
        let queries = Double(configuration.heads * configuration.headDimension)
        let keys = Double(configuration.keyValueHeads * configuration.headDimension)

        // Attention: both norms' inputs and outputs, queries, keys, values, their sum; router: probabilities and choices.
        // What only products read of it is kept as they take it.
        let rounded = options.precision == .bfloat16 ? 0.5 : 0
        let attention =
            (4 - rounded) * state + (2 + rounded) * queries + 2 * keys + Double(configuration.heads + 2)
        let router = Double(configuration.experts + 6 * configuration.expertsPerToken)
        // Factors as products take them are kept with what else a layer keeps.
        let head = Double(configuration.vocabularySize * configuration.hiddenSize)
        let layerWeights = rounded * (weights - head) / Double(layers.count)
        var kept = tokens * (2 - rounded) * state + rounded * head
        var peak = 0.0
        for (index, layer) in layers.enumerated() {
            let (rows, neuronRows) = (layer.work.rows[rank], layer.work.work[rank])
            // Each rank has its part of every expert's tokens.
            let staying = rows / Double(worldSize)
            let leaving = max(0, tokens * layer.copies - staying)
            let routed = tokens * router + (2 - rounded) * rows * state + 2 * neuronRows + leaving * state
            let whole = tokens * attention + routed + layerWeights
            // Rows on their way, there and back, gradients of those that are there, and one activation of one expert.
            let experts = (leaving + 2 * rows - staying) * state + (1 + 3 * rounded) * layer.largest[rank]
            // When backward comes to this layer, gradients of the two stages before arrive, and the layers before have kept theirs.
            let gradients = options.overlap.contains(.gradients) ? arriving[(index + 2)...].prefix(2).reduce(0, +) : 0
            // What backward computes again of a layer is there while it is at the layer.
            switch options.recomputation {
            case .none:
                peak = max(peak, kept + whole + experts + gradients)
                kept += whole
            case .attention:
                // The experts' part is over by then.
                let rest = whole - tokens * (attention - 3 * state)
                peak = max(peak, kept + max(rest + experts, tokens * attention + layerWeights) + gradients)
                kept += rest
            case .experts:
                peak = max(peak, kept + whole + experts + gradients)
                kept += tokens * (attention - state)
            case .full:
                peak = max(peak, kept + whole + experts + gradients)
                kept += tokens * state
            }
        }
        // The gradients that attention works with; logits; the gradient that goes through all layers.
        let working =
            tokens
            * (2 * queries + 2 * keys + state + Double(configuration.vocabularySize) + 2 * state + rounded
                * Double(configuration.vocabularySize))
        return Int((Double(MemoryLayout<Float>.stride) * (peak + working)).rounded())
    }
}
