import Layers
import Randomness
import Tensors

/// Initial weights as Hugging Face's Mixtral draws them: matrices normal with mean 0, norms 1, biases 0, and so the
/// embedding of the padding token.
///
/// An entry depends on the seed, the tensor's name and its position in the whole tensor alone, so a model has the same
/// weights however its experts are spread over ranks.
public struct RandomWeights: WeightSource, Sendable {
    public let seed: UInt64
    /// `initializer_range` of the configuration.
    public let standardDeviation: Double
    /// Of the configuration; nil: no row of the embedding is 0.
    public let paddingToken: Int?

    public init(seed: UInt64, standardDeviation: Double, paddingToken: Int? = nil) {
        self.seed = seed
        self.standardDeviation = standardDeviation
        self.paddingToken = paddingToken
    }

    public func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        precondition(destination.rows == rows.count && destination.columns == columns.count, "shapes differ")
        guard shape.count > 1 else { return destination.fill(name.hasSuffix("bias") ? 0 : 1) }
        let width = shape[shape.count - 1]
        let generator = CounterBasedGenerator(seed: seed, purpose: "initial weights of \(name)")
        let zeroRow = name == "model.embed_tokens.weight" ? paddingToken : nil
        for row in rows {
            let target = row - rows.lowerBound
            guard row != zeroRow else {
                destination.rows(target..<target + 1).fill(0)
                continue
            }
            var entries = destination.rows(target..<target + 1).mutableSpan
            fill(&entries, from: row * width + columns.lowerBound, generator)
        }
    }

    /// Entries 2i and 2i + 1 of a tensor are the generator's pair i.
    private func fill(_ entries: inout MutableSpan<Float>, from position: Int, _ generator: CounterBasedGenerator) {
        var index = 0
        while index < entries.count {
            let (pair, isSecond) = (position + index).quotientAndRemainder(dividingBy: 2)
            let values = generator.normalPair(at: UInt64(pair))
            if isSecond == 0 {
                entries[index] = Float(standardDeviation * values.0)
                index += 1
            }
            if index < entries.count {
                entries[index] = Float(standardDeviation * values.1)
                index += 1
            }
        }
    }
}
