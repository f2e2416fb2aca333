import Tensors

/// Causal self-attention with rotary positions (Su et al. 2021, arXiv:2104.09864) and grouped queries: each key-value head
/// serves H / KV heads (Ainslie et al. 2023, arXiv:2305.13245).
///
/// H heads, KV key-value heads, d entries a head, S sequences of L tokens, T = S·L.
public final class SelfAttention: Module {
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    public let heads: Int
    public let keyValueHeads: Int
    public let headDimension: Int

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

    public init(hiddenSize: Int, heads: Int, keyValueHeads: Int, headDimension: Int) {
        precondition(heads % keyValueHeads == 0, "key-value heads must divide heads")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headDimension = headDimension
        query = Linear(inputSize: hiddenSize, outputSize: heads * headDimension)
        key = Linear(inputSize: hiddenSize, outputSize: keyValueHeads * headDimension)
        value = Linear(inputSize: hiddenSize, outputSize: keyValueHeads * headDimension)
        output = Linear(inputSize: heads * headDimension, outputSize: hiddenSize)
    }

    public var hiddenSize: Int { query.inputSize }
    public var children: [(name: String, module: any Module)] {
        [("q_proj", query), ("k_proj", key), ("v_proj", value), ("o_proj", output)]
    }

    /// - Parameters:
    ///   - x: (T, D), sequence after sequence; kept by reference until `backward`, so it must not change.
    ///   - rotary: of d entries a head, for L positions at least.
    /// - Returns: y, (T, D)
    public func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) -> Tensor {
        let input = query.factor(x)
        let q = query.forward(input, savingForBackward: savingForBackward)
        let k = key.forward(input, savingForBackward: savingForBackward)
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
    public func backward(_ outputGradient: Tensor) -> Tensor {
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
        let inputGradient = query.backward(queryGradient)
        key.backward(keyGradient, into: inputGradient, adds: true)
        value.backward(valueGradient, into: inputGradient, adds: true)
        return inputGradient
    }
}
