import Layers
import Tensors

/// One layer: h = x + attention(norm(x)), y = h + experts(norm(h)).
final class MixtralDecoderLayer: Module {
    private let attention: SelfAttention
    private let block: SparseMoEBlock
    private let inputNorm: RMSNormLayer
    private let postAttentionNorm: RMSNormLayer
    private let timer: PhaseTimer

    init(_ configuration: MixtralConfiguration, timer: PhaseTimer) {
        self.timer = timer
        let hiddenSize = configuration.hiddenSize
        attention = SelfAttention(
            hiddenSize: hiddenSize, heads: configuration.heads, keyValueHeads: configuration.keyValueHeads,
            headDimension: configuration.headDimension)
        block = SparseMoEBlock(
            gate: Router(
                hiddenSize: hiddenSize, expertCount: configuration.experts, policy: configuration.routing),
            experts: LocalExperts(
                hiddenSize: hiddenSize,
                widths: [Int](repeating: configuration.intermediateSize, count: configuration.experts), timer: timer),
            timer: timer)
        let epsilon = Float(configuration.rmsNormEpsilon)
        inputNorm = RMSNormLayer(size: hiddenSize, epsilon: epsilon)
        postAttentionNorm = RMSNormLayer(size: hiddenSize, epsilon: epsilon)
    }

    var children: [(name: String, module: any Module)] {
        [
            ("self_attn", attention), ("block_sparse_moe", block), ("input_layernorm", inputNorm),
            ("post_attention_layernorm", postAttentionNorm),
        ]
    }

    /// Of the last forward pass that saved for backward.
    var routerStatistics: Router.Statistics? { block.statistics }

    /// x of the last forward pass that saved for backward, until backward.
    var savedInput: Tensor? { inputNorm.savedInput }

    /// - Parameter x: (T, D); kept by reference until `backward`, so it must not change.
    /// - Returns: y, (T, D)
    func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor {
        let hidden = timer.measure(.attention) {
            let hidden = attention.forward(
                inputNorm.forward(x, savingForBackward: savingForBackward), sequences: sequences,
                sequenceLength: sequenceLength, rotary: rotary, savingForBackward: savingForBackward)
            Rows.add(x, into: hidden)
            return hidden
        }
        let normalized = timer.measure(.router) {
            postAttentionNorm.forward(hidden, savingForBackward: savingForBackward)
        }
        let y = try block.forward(
            normalized, sequenceLength: sequenceLength, savingForBackward: savingForBackward)
        Rows.add(hidden, into: y)
        return y
    }

    /// Adds to the weights' gradients. `gradient` is dL/dy, (T, D), and becomes dL/dx.
    /// - Parameter probabilityGradient, scales: as in `SparseMoEBlock`.
    func backward(_ gradient: Tensor, probabilityGradient: [Float]?, scales: RouterLossScales) throws {
        let blockGradient = try block.backward(gradient, probabilityGradient: probabilityGradient, scales: scales)
        timer.measure(.router) { postAttentionNorm.backward(blockGradient, addingTo: gradient) }
        timer.measure(.attention) { inputNorm.backward(attention.backward(gradient), addingTo: gradient) }
    }
}
