import Layers
import Tensors

/// All of the model but its head: embedding, layers, norm.
final class MixtralBackbone: Module {
    let embedding: Embedding
    let layers: ModuleList<MixtralDecoderLayer>
    private let norm: RMSNormLayer
    private let configuration: MixtralConfiguration
    private var rotary: RotaryEmbedding?
    /// Positions that `rotary` has.
    private var rotaryPositions = 0

    init(_ configuration: MixtralConfiguration, timer: PhaseTimer) {
        self.configuration = configuration
        embedding = Embedding(
            vocabularySize: configuration.vocabularySize, hiddenSize: configuration.hiddenSize,
            paddingToken: configuration.paddingToken)
        layers = ModuleList(
            (0..<configuration.layers).map { MixtralDecoderLayer(configuration, index: $0, timer: timer) })
        norm = RMSNormLayer(size: configuration.hiddenSize, epsilon: Float(configuration.rmsNormEpsilon))
    }

    var children: [(name: String, module: any Module)] {
        [("embed_tokens", embedding), ("layers", layers), ("norm", norm)]
    }

    /// As `MixtralModel.stages`.
    func stages(head: Linear) -> [[any Module]] { [[embedding]] + layers.elements.map { [$0] } + [[norm, head]] }

    /// The residual stream behind all layers, of the last forward pass that saved for backward, until backward.
    var savedOutput: Tensor? { norm.savedInput }

    /// Which of all tokens this rank has.
    func ownTokens(of count: Int) -> Range<Int> { layers.elements.first?.ownTokens(of: count) ?? 0..<count }

    /// - Parameters:
    ///   - tokens: the own ones.
    ///   - sequences, sequenceLength: of all tokens.
    ///   - beforeStage: as in `MixtralModel`.
    /// - Returns: (T, D)
    func forward(
        _ tokens: [Int32], sequences: Int, sequenceLength: Int, savingForBackward: Bool,
        beforeStage: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let rotary = rotary(for: sequenceLength)
        try beforeStage(0)
        var x = embedding.forward(tokens, savingForBackward: savingForBackward)
        for (index, layer) in layers.elements.enumerated() {
            try beforeStage(1 + index)
            x = try layer.forward(
                x, sequences: sequences, sequenceLength: sequenceLength, rotary: rotary,
                savingForBackward: savingForBackward)
        }
        try beforeStage(1 + layers.elements.count)
        return norm.forward(x, savingForBackward: savingForBackward)
    }

    /// Adds to the weights' gradients.
    /// - Parameters:
    ///   - outputGradient: (T, D)
    ///   - afterStage: as in `MixtralModel`; the head's gradients are complete.
    func backward(
        _ outputGradient: Tensor, probabilityGradient: [Float]?, scales: RouterLossScales,
        afterStage: (Int) throws -> Void
    ) throws {
        let gradient = Tensor(rows: outputGradient.rows, columns: outputGradient.columns, repeating: 0)
        norm.backward(outputGradient, addingTo: gradient)
        try afterStage(1 + layers.elements.count)
        for (index, layer) in layers.elements.enumerated().reversed() {
            try layer.backward(gradient, probabilityGradient: probabilityGradient, scales: scales)
            try afterStage(1 + index)
        }
        embedding.backward(gradient)
        try afterStage(0)
    }

    /// Tables as long as the longest sequence so far, not as the model allows: that can be millions of positions.
    private func rotary(for sequenceLength: Int) -> RotaryEmbedding {
        if let rotary, rotaryPositions >= sequenceLength { return rotary }
        rotaryPositions = min(configuration.maximumPositions, max(sequenceLength, 2 * rotaryPositions))
        let rotary = RotaryEmbedding(
            headDimension: configuration.headDimension, base: configuration.ropeTheta,
            maximumPositions: rotaryPositions)
        self.rotary = rotary
        return rotary
    }
}
