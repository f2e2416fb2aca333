import Tensors

/// Which projections of attention have biases.
public enum ProjectionBiases: Sendable, Equatable {
    case none
    /// Those of queries, keys and values.
    case inputs
    /// These and the last one.
    case all
}

/// RMSNorm of queries and of keys, before they are rotated (Henry et al. 2020, arXiv:2010.04245).
public struct QueryKeyNorm: Sendable, Equatable {
    public enum Scope: Sendable, Equatable {
        /// Each head by itself, all with the same d weights.
        case head
        /// All heads of a token together, with a weight for each entry.
        case allHeads
    }

    public let scope: Scope
    public let epsilon: Float

    public init(scope: Scope, epsilon: Float) {
        (self.scope, self.epsilon) = (scope, epsilon)
    }
}

/// Causal self-attention with rotary positions (Su et al. 2021, arXiv:2104.09864) and grouped queries: each key-value head
/// serves H / KV heads (Ainslie et al. 2023, arXiv:2305.13245).
///
/// H heads, KV key-value heads, d entries a head, S sequences of L tokens, T = S·L.
public final class SelfAttention: Module {
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let queryNorm: RMSNormLayer?
    private let keyNorm: RMSNormLayer?
    public let heads: Int
    public let keyValueHeads: Int
    public let headDimension: Int
    public let biases: ProjectionBiases
    public let norm: QueryKeyNorm?
    /// Of a part whose heads have a norm together with those of the other parts.
    private var normOfAllHeads: NormOfAllHeads?

    private struct Saved {
        let query: Tensor
        let key: Tensor
        let value: Tensor
        let attended: Tensor
        let logSumExp: Tensor
        let rotary: RotaryEmbedding
        let sequences: Int
        let sequenceLength: Int
    }
    private var saved: Saved?

    public init(
        hiddenSize: Int, heads: Int, keyValueHeads: Int, headDimension: Int, biases: ProjectionBiases = .none,
        norm: QueryKeyNorm? = nil
    ) {
        precondition(heads % keyValueHeads == 0, "key-value heads must divide heads")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headDimension = headDimension
        self.biases = biases
        self.norm = norm
        func input(heads: Int) -> Linear {
            Linear(inputSize: hiddenSize, outputSize: heads * headDimension, hasBias: biases != .none)
        }
        func makeNorm(heads: Int) -> RMSNormLayer? {
            norm.map { RMSNormLayer(size: ($0.scope == .head ? 1 : heads) * headDimension, epsilon: $0.epsilon) }
        }
        query = input(heads: heads)
        key = input(heads: keyValueHeads)
        value = input(heads: keyValueHeads)
        output = Linear(inputSize: heads * headDimension, outputSize: hiddenSize, hasBias: biases == .all)
        queryNorm = makeNorm(heads: heads)
        keyNorm = makeNorm(heads: keyValueHeads)
    }

    /// Attention of some of the heads, without weights yet: its output is a partial sum, and those of all heads add up to this one's.
    /// - Parameters:
    ///   - heads: how many.
    ///   - keyValueHeads: a divisor of them.
    ///   - addsOutputBias: whether this sum has the last projection's bias, which one of them has.
    ///   - group: the ranks that have all parts, for a norm over all heads.
    ///   - countsKeys: whether the key-value heads count in it here: they do in one of the parts that have the same.
    public func part(
        heads: Int, keyValueHeads: Int, addsOutputBias: Bool, group: (any SequenceGroup)? = nil, countsKeys: Bool = true
    ) -> SelfAttention {
        precondition(norm?.scope != .allHeads || group != nil, "a norm over heads that are nowhere")
        let part = SelfAttention(
            hiddenSize: hiddenSize, heads: heads, keyValueHeads: keyValueHeads, headDimension: headDimension,
            biases: biases, norm: norm)
        part.output.addsBias = addsOutputBias
        if norm?.scope == .allHeads, let group {
            part.normOfAllHeads = NormOfAllHeads(
                group: group, queryEntries: self.heads * headDimension, keyEntries: self.keyValueHeads * headDimension,
                countsKeys: countsKeys)
        }
        return part
    }

    public var hiddenSize: Int { query.inputSize }
    public var children: [(name: String, module: any Module)] {
        var children: [(name: String, module: any Module)] = [
            ("q_proj", query), ("k_proj", key), ("v_proj", value), ("o_proj", output),
        ]
        if let queryNorm, let keyNorm { children += [("q_norm", queryNorm), ("k_norm", keyNorm)] }
        return children
    }

    /// - Parameters:
    ///   - x: (T, D), sequence after sequence; kept by reference until `backward`, so it must not change.
    ///   - rotary: of d entries a head, for L positions at least.
    /// - Returns: y, (T, D)
    public func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor {
        let input = query.factor(x)
        let (q, k) = try normalized(
            query.forward(input, savingForBackward: savingForBackward),
            key.forward(input, savingForBackward: savingForBackward), savingForBackward: savingForBackward)
        let v = value.forward(input, savingForBackward: savingForBackward)
        rotary.apply(q, heads: heads, sequenceLength: sequenceLength)
        rotary.apply(k, heads: keyValueHeads, sequenceLength: sequenceLength)

        let attended = Tensor(rows: x.rows, columns: heads * headDimension)
        let logSumExp = Tensor(rows: sequences * heads, columns: sequenceLength)
        CausalAttention.forward(
            query: q, key: k, value: v, sequences: sequences, sequenceLength: sequenceLength, heads: heads,
            keyValueHeads: keyValueHeads, into: attended, logSumExp: logSumExp)
        saved =
            savingForBackward
            ? Saved(
                query: q, key: k, value: v, attended: attended, logSumExp: logSumExp, rotary: rotary,
                sequences: sequences, sequenceLength: sequenceLength) : nil
        return output.forward(attended, savingForBackward: savingForBackward)
    }

    /// Adds to the weights' gradients.
    /// - Parameter outputGradient: dL/dy, (T, D)
    /// - Returns: dL/dx, (T, D)
    public func backward(_ outputGradient: Tensor) throws -> Tensor {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let attendedGradient = output.backward(outputGradient)
        let queryGradient = Tensor(rows: saved.query.rows, columns: saved.query.columns)
        let keyGradient = Tensor(rows: saved.key.rows, columns: saved.key.columns)
        let valueGradient = Tensor(rows: saved.value.rows, columns: saved.value.columns)
        CausalAttention.backward(
            query: saved.query, key: saved.key, value: saved.value, output: saved.attended,
            logSumExp: saved.logSumExp, outputGradient: attendedGradient,
            sequences: saved.sequences, sequenceLength: saved.sequenceLength, heads: heads,
            keyValueHeads: keyValueHeads,
            queryGradient: queryGradient, keyGradient: keyGradient, valueGradient: valueGradient)

        // A rotation's transpose is its inverse.
        saved.rotary.apply(queryGradient, heads: heads, sequenceLength: saved.sequenceLength, inverse: true)
        saved.rotary.apply(keyGradient, heads: keyValueHeads, sequenceLength: saved.sequenceLength, inverse: true)
        let means = try productMeans(queryGradient, keyGradient)
        let inputGradient = query.backward(beforeNorm(queryGradient, queryNorm, means?.queries))
        key.backward(beforeNorm(keyGradient, keyNorm, means?.keys), into: inputGradient, adds: true)
        value.backward(valueGradient, into: inputGradient, adds: true)
        return inputGradient
    }

    /// What norms make of queries and keys, (T, n·d): of a row for each head of each token, or for each token.
    private func normalized(
        _ queries: Tensor, _ keys: Tensor, savingForBackward: Bool
    ) throws -> (queries: Tensor, keys: Tensor) {
        guard let queryNorm, let keyNorm else { return (queries, keys) }
        let means = try normOfAllHeads?.meanSquares(queries, keys)
        func normalized(_ x: Tensor, _ norm: RMSNormLayer, _ meanSquares: [Float]?) -> Tensor {
            norm.forward(rows(x, of: norm), meanSquares: meanSquares, savingForBackward: savingForBackward)
                .reshaped(rows: x.rows, columns: x.columns)
        }
        return (normalized(queries, queryNorm, means?.queries), normalized(keys, keyNorm, means?.keys))
    }

    /// What the norms of parts need of each other in backward; nil: nothing.
    private func productMeans(
        _ queryGradient: Tensor, _ keyGradient: Tensor
    ) throws -> (queries: [Float], keys: [Float])? {
        guard let normOfAllHeads, let queryNorm, let keyNorm else { return nil }
        return try normOfAllHeads.productMeans(
            queryNorm.weightBackward(queryGradient), keyNorm.weightBackward(keyGradient))
    }

    /// The gradient of what the norm got, from that of what it made.
    private func beforeNorm(_ gradient: Tensor, _ norm: RMSNormLayer?, _ productMeans: [Float]?) -> Tensor {
        guard let norm else { return gradient }
        let inputGradient = Tensor(rows: gradient.rows, columns: gradient.columns, repeating: 0)
        if let productMeans {
            norm.inputBackward(gradient, productMeans: productMeans, addingTo: inputGradient)
        } else {
            norm.backward(rows(gradient, of: norm), addingTo: rows(inputGradient, of: norm))
        }
        return inputGradient
    }

    private func rows(_ x: Tensor, of norm: RMSNormLayer) -> Tensor {
        x.reshaped(rows: x.count / norm.weight.count, columns: norm.weight.count)
    }
}
