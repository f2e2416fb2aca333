import GradientChecks
import Layers
import Mixtral
import Randomness
import Tensors

/// A model small enough for differences, and tokens for it.
struct SmallModel {
    let model: MixtralModel
    let tokens: [Int32]
    let targets: [Int32]
    let sequences: Int
    let sequenceLength: Int

    /// - Parameter paddingToken: as in `MixtralConfiguration`.
    init(
        seed: UInt64, layers: Int = 2, experts: Int = 4, sequences: Int = 2, sequenceLength: Int = 5,
        paddingToken: Int? = nil
    ) throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 11, hiddenSize: 12, intermediateSize: 7, layers: layers, heads: 4, keyValueHeads: 2,
            headDimension: 4, experts: experts, expertsPerToken: 2, maximumPositions: 16, ropeTheta: 100,
            paddingToken: paddingToken)
        self.init(seed: seed, configuration, sequences: sequences, sequenceLength: sequenceLength)
    }

    init(seed: UInt64, _ configuration: MixtralConfiguration, sequences: Int = 2, sequenceLength: Int = 5) {
        model = MixtralModel(configuration: configuration)
        model.randomize(seed: seed, scale: 0.4)
        self.sequences = sequences
        self.sequenceLength = sequenceLength
        let generator = CounterBasedGenerator(seed: seed, purpose: "tokens")
        let (count, vocabulary) = (sequences * sequenceLength, configuration.vocabularySize)
        tokens = (0..<count).map { Int32(generator.integer(at: UInt64($0), below: vocabulary)) }
        targets = (0..<count).map { Int32(generator.integer(at: UInt64(count + $0), below: vocabulary)) }
    }

    /// The training pass over some of the sequences.
    func trainingForward(_ range: Range<Int>? = nil, lossScale: Float = 1) throws -> MixtralLosses {
        let range = range ?? 0..<sequences
        let rows = range.lowerBound * sequenceLength..<range.upperBound * sequenceLength
        return try model.trainingForward(
            tokens: Array(tokens[rows]), targets: Array(targets[rows]), sequences: range.count,
            sequenceLength: sequenceLength, lossScale: lossScale)
    }

    func evaluationLossSum() throws -> Double {
        try model.evaluationLossSum(
            tokens: tokens, targets: targets, sequences: sequences, sequenceLength: sequenceLength)
    }

    func zeroGradients() {
        for (_, parameter) in model.namedParameters() { parameter.gradient.fill(0) }
    }

    func gradients() -> [(name: String, values: [Float])] {
        model.namedParameters().map { ($0.name, $0.parameter.gradient.array) }
    }
}
