import ExpertParallelism
import ExpertPlacement
import Layers
import Mixtral
import Tensors

/// What a training step of one rank holds besides weights and their state.
struct Activations {
    private struct Layer {
        /// Rows that each rank computes.
        let rows: [Double]
        /// Entries of one activation of all a rank's experts, and the most of one expert, by rank.
        let hidden: [Double]
        let largest: [Double]
        /// The part of all tokens that have an expert there, by rank: those that are sent there, once each.
        let reached: [Double]
        /// Chunks in which rows travel.
        let chunks: Double

        /// - Parameters:
        ///   - tokens: of all ranks.
        ///   - choices: experts of each token.
        ///   - overlaps: whether rows travel in chunks.
        init(_ layer: LayerPlacement, tokens: Double, choices: Int, worldSize: Int, overlaps: Bool) {
            let load = tokens * Double(choices) / Double(layer.experts.count)
            let none = [Double](repeating: 0, count: worldSize)
            var (rows, hidden, largest) = (none, none, none)
            for expert in layer.experts {
                var one = RankWork(worldSize: worldSize)
                one.add(LayerPlacement(experts: [expert]), loads: [load])
                for rank in expert.mesh.ranks where one.rows[rank] > 0 {
                    let neurons = Int((one.work[rank] / one.rows[rank]).rounded())
                    let entries = one.rows[rank] * Double(Tensor.spreadStride(neurons))
                    rows[rank] += one.rows[rank]
                    hidden[rank] += entries
                    largest[rank] = max(largest[rank], entries)
                }
            }
            (self.rows, self.hidden, self.largest) = (rows, hidden, largest)
            reached = rows.map {
                Self.reached($0 / (tokens * Double(choices)), choices: choices, experts: layer.experts.count)
            }
            let most = overlaps ? PlacedShards.mostChunks : 1
            chunks = Double(PlacedShards(layer, worldSize: worldSize, mostChunks: most).chunkCount)
        }

        /// The part of tokens that have one of their experts, each another, in a part of all.
        private static func reached(_ part: Double, choices: Int, experts: Int) -> Double {
            var missed = 1.0
            for choice in 0..<choices { missed *= max(0, 1 - part * Double(experts) / Double(experts - choice)) }
            return 1 - missed
        }
    }

    /// Blocks of many sizes leave gaps between them, which this makes good.
    private static let gaps = 1.03

    private let configuration: MixtralConfiguration
    private let options: TrainingOptions
    private let shares: DenseShares
    private let worldSize: Int
    private let layers: [Layer]

    init(
        _ configuration: MixtralConfiguration, plan: PlacementPlan, options: TrainingOptions, shares: DenseShares
    ) {
        self.shares = shares
        self.configuration = configuration
        self.options = options
        worldSize = plan.worldSize
        let tokens = Double(options.batchSize / options.microBatches * options.sequenceLength)
        let overlaps = options.overlap.contains(.dispatch) && Set(plan.nodes).count > 1
        layers = plan.layers.map {
            Layer(
                $0, tokens: tokens, choices: configuration.expertsPerToken, worldSize: plan.worldSize,
                overlaps: overlaps)
        }
    }

    /// Entries of one layer.
    private struct Entries {
        /// What all but the network keeps: norms, heads, weights as products take them.
        var norms = 0.0
        var heads = 0.0
        var weights = 0.0
        /// What the network keeps, and what it needs at its most besides.
        var network = 0.0
        var work = 0.0
        /// What a shared expert's forward pass needs besides all that is kept.
        var sharedForward = 0.0

        var kept: Double { norms + heads + weights + network }
    }

    /// - Parameters:
    ///   - residentNeurons: that the rank computes with, of all layers.
    ///   - arriving: entries of gradients from other ranks, by stage: embedding, layers, head.
    func bytes(of rank: Int, residentNeurons: Int, arriving: [Double]) -> Int {
        let blocks = BatchBlocks(options, rank: rank, mesh: shares.mesh)
        let own = (0..<blocks.microBatches).map { blocks.own(microBatch: $0) }
        // Of the rank, and of its group, whose tokens its heads see all.
        let tokens = Double(own.map(\.tokens.count).max() ?? 0)
        let groupSequences = own.map(\.sequences.count).max() ?? 0
        let groupTokens = Double(groupSequences * options.sequenceLength)
        let share = shares[rank]
        let state = Double(configuration.hiddenSize)
        let neurons = residentNeurons / max(1, layers.count)
        var kept = 0.0
        var peak = 0.0
        for layer in 0..<configuration.layers {
            let entries = entries(
                ofLayer: layer, rank: rank, tokens: tokens, groupTokens: groupTokens, neurons: neurons)
            // When backward comes to this layer, gradients of the two stages before arrive, and the layers before have kept theirs.
            let gradients = options.overlap.contains(.gradients) ? arriving[(layer + 2)...].prefix(2).reduce(0, +) : 0
            let (norms, heads, network, weights) = (entries.norms, entries.heads, entries.network, entries.weights)
            // What backward computes again of a layer is there while it is at the layer, but its attention only after the network's part.
            let networkPeak =
                entries.kept + max(entries.work, options.recomputation.coversExperts ? entries.sharedForward : 0)
                - (options.recomputation == .attention ? heads : 0)
            // By then the network has let go of all its own.
            let attentionPeak = norms + heads + weights + attending(share, sequences: groupSequences)
            peak = max(peak, kept + max(networkPeak, attentionPeak) + gradients)
            switch options.recomputation {
            case .none: kept += entries.kept
            case .attention: kept += norms + network + weights
            // Both norms' inputs stay, and the heads'.
            case .experts: kept += tokens * (2 * state + 2) + heads
            case .full: kept += tokens * state
            }
        }
        // The head with its norm comes before them, when all layers have kept theirs. There the gradient that goes through all layers is
        // not yet.
        let (vocabulary, head) = (Double(configuration.vocabularySize), Double(configuration.vocabularySize) * state)
        let ends = tokens * ((1 - rounded) * state + (1 + rounded) * vocabulary) + rounded * head
        let entries = max(peak, kept + ends) + 2 * tokens * state
        return Int((Self.gaps * Double(MemoryLayout<Float>.stride) * entries).rounded())
    }

    /// What a product's factor takes besides, or what only products read takes less.
    private var rounded: Double { options.precision == .bfloat16 ? 0.5 : 0 }

    /// Of the rank's queries and keys.
    private func entriesPerToken(_ share: DenseShares.Share) -> (queries: Double, keys: Double) {
        (
            Double(share.heads * configuration.headDimension), Double(share.keyValueHeads * configuration.headDimension)
        )
    }

    /// Rows for each token of a group that what is cut over it takes while backward is at it: what went out and what comes in.
    private var spread: Double { shares.mesh.tensorParallel > 1 ? 2 : 1 }

    /// The gradients that attention works with, of so many sequences, and what its threads need besides.
    private func attending(_ share: DenseShares.Share, sequences: Int) -> Double {
        let (queries, keys) = entriesPerToken(share)
        let normalized = configuration.queryKeyNorm == nil ? 0 : queries
        let scratch = CausalAttention.scratchEntries(
            sequences: sequences, sequenceLength: options.sequenceLength, keyValueHeads: share.keyValueHeads,
            headDimension: configuration.headDimension, threads: options.threads)
        return Double(sequences * options.sequenceLength)
            * (2 * queries + 2 * keys + normalized + spread * Double(configuration.hiddenSize)) + Double(scratch)
    }

    private func entries(
        ofLayer layer: Int, rank: Int, tokens: Double, groupTokens: Double, neurons: Int
    ) -> Entries {
        let share = shares[rank]
        let state = Double(configuration.hiddenSize)
        let (queries, keys) = entriesPerToken(share)
        // Attention: both norms' inputs and outputs, of which the first is the heads' input; queries, keys, values, their sum;
        // queries and keys before their own norm. What only products read of it is kept as they take it.
        var entries = Entries()
        entries.norms = tokens * (3 * state + 2)
        var headEntries = (2 + rounded) * queries + 2 * keys + Double(share.heads)
        if configuration.queryKeyNorm != nil {
            headEntries += queries + keys + Double(share.heads + share.keyValueHeads)
        }
        entries.heads = groupTokens * ((1 - rounded) * state + headEntries)

        let (width, held) = (Double(Tensor.spreadStride(share.neurons[layer])), share.layers[layer].held)
        guard let index = configuration.sparseLayers.firstIndex(of: layer) else {
            // The network's input is the second norm's output, of all tokens of the group.
            entries.norms -= tokens * state
            entries.weights = rounded * Double(held)
            entries.network = groupTokens * ((1 - rounded) * state + 2 * width)
            entries.work = groupTokens * (spread * state + (1 + 3 * rounded) * width)
            return entries
        }
        entries.weights = rounded * Double(held + 3 * configuration.hiddenSize * neurons)
        // Router: probabilities and choices.
        let router = Double(configuration.experts + 6 * configuration.expertsPerToken)
        let (rows, hidden) = (layers[index].rows[rank], layers[index].hidden[rank])
        let routed = tokens * router + (2 - rounded) * rows * state + 2 * hidden
        // Gradients of the rows that are there, with those that leave and arrive or, later, one activation of one expert. In chunks there are
        // those of two, what arrives, what goes back and what comes back, what leaves with the next, and the activation.
        let (reached, chunks) = (layers[index].reached, layers[index].chunks)
        let leaving = tokens * (reached.reduce(0, +) - reached[rank]) * state
        let arriving = tokens * Double(worldSize - 1) * reached[rank] * state
        let largest = (1 + 3 * rounded) * layers[index].largest[rank]
        let work =
            chunks > 1
            ? 2 / chunks * rows * state + 2 * arriving + (1 + 1 / chunks) * leaving + largest
            : rows * state + max(leaving + arriving, largest)
        entries.network = routed
        entries.work = work
        guard configuration.sharedExpertWidth != nil else { return entries }
        // Its input is the router's, unless it is that of all tokens of the group.
        let input = shares.mesh.tensorParallel > 1 ? 1 - rounded : rounded
        entries.network += groupTokens * (input * state + 2 * width)
        entries.network += configuration.hasSharedGate ? tokens * (state + 2) : 0
        // The others' output is there, and its own, which a gate keeps.
        entries.sharedForward =
            tokens * state + groupTokens * (1 + rounded) * width
            + (configuration.hasSharedGate ? 0 : tokens * state)
            + (shares.mesh.tensorParallel > 1 ? groupTokens * state : 0)
        // Its backward comes when the others have let go of theirs.
        entries.work = max(
            work, tokens * state + groupTokens * (spread * state + (1 + 3 * rounded) * width) - routed)
        return entries
    }
}
