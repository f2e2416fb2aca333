import Layers
import Tensors

/// One layer: h = x + attention(norm(x)), y = h + network(norm(h)), where the network is a router with experts, or a dense one.
final class MixtralDecoderLayer: Module {
    private enum Network {
        case sparse(SparseMoEBlock)
        case dense(any FeedForward)
    }
    private var attention: any Attention
    private var network: Network
    private let networkName: String
    private let inputNorm: RMSNormLayer
    private let postAttentionNorm: RMSNormLayer
    private let timer: PhaseTimer
    /// What backward computes again.
    var recomputation = Recomputation.none

    /// What a second forward pass needs.
    private struct Kept {
        let input: Tensor
        /// h; nil when it is computed again.
        let hidden: Tensor?
        let sequences: Int
        let sequenceLength: Int
        let rotary: RotaryEmbedding
    }
    private var kept: Kept?

    /// - Parameter index: among all layers.
    init(_ configuration: MixtralConfiguration, index: Int, timer: PhaseTimer) {
        self.timer = timer
        let hiddenSize = configuration.hiddenSize
        attention = SelfAttention(
            hiddenSize: hiddenSize, heads: configuration.heads, keyValueHeads: configuration.keyValueHeads,
            headDimension: configuration.headDimension, biases: configuration.projectionBiases,
            norm: configuration.queryKeyNorm)
        network = Self.network(configuration, index: index, timer: timer)
        networkName = configuration.modelType.traits.blockName
        let epsilon = Float(configuration.rmsNormEpsilon)
        inputNorm = RMSNormLayer(size: hiddenSize, epsilon: epsilon)
        postAttentionNorm = RMSNormLayer(size: hiddenSize, epsilon: epsilon)
    }

    private static func network(_ configuration: MixtralConfiguration, index: Int, timer: PhaseTimer) -> Network {
        let (traits, hiddenSize) = (configuration.modelType.traits, configuration.hiddenSize)
        guard let layer = configuration.sparseLayers.firstIndex(of: index) else {
            return .dense(
                Expert(hiddenSize: hiddenSize, width: configuration.denseWidth ?? 0, names: traits.expertNames))
        }
        let shared = configuration.sharedExpertWidth.map { width in
            SharedExpert(
                name: configuration.hasSharedGate ? "shared_expert" : "shared_experts", hiddenSize: hiddenSize,
                width: width, names: traits.expertNames, hasGate: configuration.hasSharedGate)
        }
        return .sparse(
            SparseMoEBlock(
                gate: Router(
                    hiddenSize: hiddenSize, expertCount: configuration.experts, policy: configuration.routing),
                experts: LocalExperts(
                    hiddenSize: hiddenSize,
                    widths: (0..<configuration.experts).map { configuration.widths[layer: layer, expert: $0] },
                    names: traits.expertNames, timer: timer),
                shared: shared, timer: timer))
    }

    var children: [(name: String, module: any Module)] {
        let module: any Module =
            switch network {
            case .sparse(let block): block
            case .dense(let dense): dense
            }
        return [
            ("self_attn", attention), (networkName, module), ("input_layernorm", inputNorm),
            ("post_attention_layernorm", postAttentionNorm),
        ]
    }

    /// "self_attn" can be replaced, by an `Attention` of the same D, and a dense network by a `FeedForward` of the same D.
    func replaceChild(_ name: String, with module: any Module) throws {
        if name == "self_attn", let attention = module as? any Attention {
            self.attention = attention
        } else if name == networkName, case .dense = network, let dense = module as? any FeedForward {
            network = .dense(dense)
        } else {
            throw ModuleError.cannotReplace(child: name, in: "\(Self.self)", with: "\(type(of: module))")
        }
    }

    /// Which of all tokens this rank has.
    func ownTokens(of count: Int) -> Range<Int> { attention.ownTokens(of: count) }

    /// Of the last forward pass that saved for backward; nil in a dense layer.
    var routerStatistics: Router.Statistics? {
        if case .sparse(let block) = network { block.statistics } else { nil }
    }

    /// x of the last forward pass that saved for backward, until backward.
    var savedInput: Tensor? { kept?.input ?? inputNorm.savedInput }

    /// - Parameters:
    ///   - x: rows of the own tokens, (T, D); kept by reference until `backward`, so it must not change.
    ///   - sequences, sequenceLength: of all tokens.
    /// - Returns: y, (T, D)
    func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor {
        kept = nil
        let hidden = try attend(
            x, sequences: sequences, sequenceLength: sequenceLength, rotary: rotary,
            savingForBackward: savingForBackward && !recomputation.coversAttention)
        if savingForBackward, recomputation != .none {
            kept = Kept(
                input: x, hidden: recomputation == .experts ? hidden : nil, sequences: sequences,
                sequenceLength: sequenceLength, rotary: rotary)
        }
        let y = try transform(
            hidden, sequences: sequences, sequenceLength: sequenceLength, savingForBackward: savingForBackward,
            recomputing: savingForBackward && recomputation.coversExperts)
        Rows.add(hidden, into: y)
        return y
    }

    /// h, (T, D)
    private func attend(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor {
        try timer.measure(.attention) {
            let hidden = try attention.forward(
                inputNorm.forward(x, savingForBackward: savingForBackward), sequences: sequences,
                sequenceLength: sequenceLength, rotary: rotary, savingForBackward: savingForBackward)
            Rows.add(x, into: hidden)
            return hidden
        }
    }

    /// What is added to h, (T, D).
    private func transform(
        _ hidden: Tensor, sequences: Int, sequenceLength: Int, savingForBackward: Bool, recomputing: Bool = false
    ) throws -> Tensor {
        let tokens = sequences * sequenceLength
        let normalized = timer.measure(.router) {
            postAttentionNorm.forward(hidden, savingForBackward: savingForBackward && !recomputing)
        }
        switch network {
        case .sparse(let block):
            return try block.forward(
                normalized, sequenceLength: sequenceLength, tokens: tokens, savingForBackward: savingForBackward,
                recomputing: recomputing)
        case .dense(let dense):
            return try timer.measure(.attention) {
                try dense.forward(normalized, tokens: tokens, savingForBackward: savingForBackward && !recomputing)
            }
        }
    }

    /// Adds to the network's gradients.
    /// - Returns: dL/dnorm(h), (T, D)
    private func networkBackward(
        _ gradient: Tensor, probabilityGradient: [Float]?, scales: RouterLossScales
    ) throws -> Tensor {
        switch network {
        case .sparse(let block):
            return try block.backward(gradient, probabilityGradient: probabilityGradient, scales: scales)
        case .dense(let dense): return try timer.measure(.attention) { try dense.backward(gradient) }
        }
    }

    /// Adds to the weights' gradients. `gradient` is dL/dy, (T, D), and becomes dL/dx.
    /// - Parameter probabilityGradient, scales: as in `SparseMoEBlock`.
    func backward(_ gradient: Tensor, probabilityGradient: [Float]?, scales: RouterLossScales) throws {
        let kept = self.kept
        self.kept = nil
        if let kept, recomputation.coversExperts {
            _ = try transform(
                kept.hidden ?? attend(kept), sequences: kept.sequences, sequenceLength: kept.sequenceLength,
                savingForBackward: true)
        }
        let networkGradient = try networkBackward(
            gradient, probabilityGradient: probabilityGradient, scales: scales)
        timer.measure(.router) { postAttentionNorm.backward(networkGradient, addingTo: gradient) }
        if let kept, recomputation == .attention { _ = try attend(kept) }
        try timer.measure(.attention) { try inputNorm.backward(attention.backward(gradient), addingTo: gradient) }
    }

    /// The attention's second pass.
    private func attend(_ kept: Kept) throws -> Tensor {
        try attend(
            kept.input, sequences: kept.sequences, sequenceLength: kept.sequenceLength, rotary: kept.rotary,
            savingForBackward: true)
    }
}
