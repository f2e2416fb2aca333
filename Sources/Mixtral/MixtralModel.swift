import Layers
import Tensors

/// Mixtral (Jiang et al. 2024, arXiv:2401.04088) as Hugging Face's `MixtralForCausalLM` defines it, or a model of another `ModelType`, with
/// the names of its checkpoints. Weights take memory when they are loaded, and the experts can be replaced before (`parallelizeExperts`).
///
/// S sequences of L tokens lie one after the other; T = S·L. S may be 0: a rank without tokens takes part in the experts'
/// work on other ranks' all the same. Where attention and networks are spread over ranks (`parallelizeDense`), each has some of the T tokens:
/// T is their number then, and S and L are of all.
public final class MixtralModel: Module {
    public let configuration: MixtralConfiguration
    private let backbone: MixtralBackbone
    /// Of its own weights, or of the embedding's, whose module has their gradient then.
    private let head: Linear

    /// What the layers compute again in backward.
    public var recomputation = Recomputation.none {
        didSet { for layer in backbone.layers.elements { layer.recomputation = recomputation } }
    }

    /// dL/dlogits of the last training pass, until backward.
    private var logitGradient: Tensor?
    private var lossIsFinite = true

    /// - Parameter timer: takes the seconds of `Phase.attention`, `.router`, and `.experts` while the experts are in this process.
    public init(configuration: MixtralConfiguration, timer: PhaseTimer = PhaseTimer()) {
        self.configuration = configuration
        backbone = MixtralBackbone(configuration, timer: timer)
        head =
            configuration.tiesEmbeddings
            ? Linear(sharing: backbone.embedding.weight)
            : Linear(inputSize: configuration.hiddenSize, outputSize: configuration.vocabularySize)
    }

    public var children: [(name: String, module: any Module)] {
        configuration.tiesEmbeddings ? [("model", backbone)] : [("model", backbone), ("lm_head", head)]
    }

    /// Embedding, each layer, norm and head. The gradient of weights that embedding and head share is complete with the embedding's stage,
    /// and they are read first in it.
    public var stages: [[any Module]] { backbone.stages(head: head) }

    /// Which tokens of `count`, sequence after sequence, this rank has: all, unless attention is spread over ranks.
    public func ownTokens(of count: Int) -> Range<Int> { backbone.ownTokens(of: count) }

    /// The forward pass of a training step; `backward` follows.
    /// - Parameters:
    ///   - tokens, targets: T entries each, below the vocabulary's size.
    ///   - lossScale: what backward multiplies the sum of the tokens' cross-entropies with; the reciprocal of the global
    ///     batch's tokens makes the gradient that of their mean.
    ///   - beforeStage: called before a stage's weights are read.
    public func trainingForward(
        tokens: [Int32], targets: [Int32], sequences: Int, sequenceLength: Int, lossScale: Float,
        beforeStage: (Int) throws -> Void = { _ in }
    ) throws -> MixtralLosses {
        try check(tokens, sequences: sequences, sequenceLength: sequenceLength)
        try check(targets, sequences: sequences, sequenceLength: sequenceLength)
        logitGradient = nil  // Of a step that was skipped.
        let hidden = try backbone.forward(
            tokens, sequences: sequences, sequenceLength: sequenceLength, savingForBackward: true,
            beforeStage: beforeStage)
        let logits = head.forward(hidden, savingForBackward: true)
        let lossSum = CrossEntropy.forwardBackward(logits: logits, targets: targets, gradientScale: lossScale)
        logitGradient = logits
        lossIsFinite = lossSum.isFinite
        let statistics = backbone.layers.elements.compactMap(\.routerStatistics)
        return MixtralLosses(
            lossSum: lossSum, expertLoads: statistics.map(\.expertLoads),
            probabilitySums: statistics.map(\.probabilitySums), droppedLoads: statistics.map(\.droppedLoads),
            zLossSum: statistics.reduce(0) { $0 + $1.zLossSum },
            sequenceLossSum: statistics.reduce(0) { $0 + $1.sequenceLossSum })
    }

    /// Adds the gradients of the last training pass to the parameters'.
    /// - Parameters:
    ///   - auxiliaryProbabilityGradient: `AuxiliaryLoss.gradient`, E entries; nil: no auxiliary loss.
    ///   - routerLossScales: of the routers' own losses.
    ///   - afterStage: called when a stage's gradients are complete.
    public func backward(
        auxiliaryProbabilityGradient: [Float]?, routerLossScales: RouterLossScales = RouterLossScales(),
        afterStage: (Int) throws -> Void = { _ in }
    ) throws {
        try backbone.backward(
            headBackward(), probabilityGradient: auxiliaryProbabilityGradient, scales: routerLossScales,
            afterStage: afterStage)
    }

    /// The logits' gradient, which can be the largest matrix by far, is gone when this returns.
    /// - Returns: that of the head's input, (T, D).
    private func headBackward() -> Tensor {
        guard let gradient = logitGradient.take() else { preconditionFailure("backward without a training pass") }
        return head.backward(gradient)
    }

    /// Sum of the tokens' cross-entropies. Keeps nothing.
    public func evaluationLossSum(
        tokens: [Int32], targets: [Int32], sequences: Int, sequenceLength: Int
    ) throws -> Double {
        try check(targets, sequences: sequences, sequenceLength: sequenceLength)
        let hidden = try hidden(tokens, sequences: sequences, sequenceLength: sequenceLength)
        // Logits of some rows at a time: with a large vocabulary they are the largest matrix by far.
        let rowsAtOnce = 1024
        var sum = 0.0
        for start in stride(from: 0, to: hidden.rows, by: rowsAtOnce) {
            let rows = start..<min(start + rowsAtOnce, hidden.rows)
            let logits = head.forward(hidden.rows(rows), savingForBackward: false)
            sum += CrossEntropy.forward(logits: logits, targets: Array(targets[rows]))
        }
        return sum
    }

    /// - Returns: the logits of each position's next token, (T, V). Keeps nothing.
    public func logits(tokens: [Int32], sequences: Int, sequenceLength: Int) throws -> Tensor {
        head.forward(
            try hidden(tokens, sequences: sequences, sequenceLength: sequenceLength), savingForBackward: false)
    }

    /// For a model whose attention is not spread over ranks.
    /// - Returns: the logits of the token that follows each sequence, (S, V). Keeps nothing.
    public func lastLogits(tokens: [Int32], sequences: Int, sequenceLength: Int) throws -> Tensor {
        let hidden = try hidden(tokens, sequences: sequences, sequenceLength: sequenceLength)
        let last = Tensor(rows: sequences, columns: hidden.columns)
        Rows.gather(hidden, indices: (0..<sequences).map { Int32(($0 + 1) * sequenceLength - 1) }, into: last)
        return head.forward(last, savingForBackward: false)
    }

    /// What the head gets, (T, D). Keeps nothing.
    private func hidden(_ tokens: [Int32], sequences: Int, sequenceLength: Int) throws -> Tensor {
        try check(tokens, sequences: sequences, sequenceLength: sequenceLength)
        return try backbone.forward(
            tokens, sequences: sequences, sequenceLength: sequenceLength, savingForBackward: false)
    }

    /// The first layer whose output in the last training pass, before its backward, is not finite (the embedding counts
    /// to layer 0); the number of layers when it is the head's; nil when all on this rank is finite.
    public func firstNonFiniteLayer() -> Int? {
        let layers = backbone.layers.elements
        if let embedded = layers.first?.savedInput, !Reductions.allFinite(embedded) { return 0 }
        for index in layers.indices {
            let output = index + 1 < layers.count ? layers[index + 1].savedInput : backbone.savedOutput
            if let output, !Reductions.allFinite(output) { return index }
        }
        return lossIsFinite ? nil : layers.count
    }

    private func check(_ tokens: [Int32], sequences: Int, sequenceLength: Int) throws {
        guard sequenceLength <= configuration.maximumPositions else {
            throw MixtralError.sequenceTooLong(
                length: sequenceLength, maximumPositions: configuration.maximumPositions)
        }
        guard tokens.count == ownTokens(of: sequences * sequenceLength).count else {
            throw MixtralError.tokenCount(
                found: tokens.count, sequences: sequences, sequenceLength: sequenceLength)
        }
        let limit = Int32(configuration.vocabularySize)
        if let position = tokens.firstIndex(where: { $0 < 0 || $0 >= limit }) {
            throw MixtralError.tokenOutsideVocabulary(
                token: Int(tokens[position]), position: position, vocabularySize: configuration.vocabularySize)
        }
    }
}
