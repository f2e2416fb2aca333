import MPIMessagePassing
import MessagePassing
import Randomness
import Tensors

/// One layer's attention between its projections.
enum AttentionCase {
    /// Seconds of forward and backward of a rank's sequences; the median of the slowest rank's. Collective.
    static func seconds(_ shape: StepShape, rounds: Int, world: MPICommunicator) throws -> Double {
        let rows = shape.tokens(world.size)
        let (width, keyWidth) = (shape.hidden, shape.hidden / shape.heads * shape.keyValueHeads)
        let sequences = rows / shape.length
        func normal(_ columns: Int, _ key: Int) -> Tensor {
            let generator = CounterBasedGenerator(seed: 4, purpose: "benchmark", keys: [key])
            return Tensor(
                (0..<rows * columns).map { Float(generator.normal(at: UInt64($0))) }, rows: rows, columns: columns)
        }
        let (query, key, value) = (normal(width, 0), normal(keyWidth, 1), normal(keyWidth, 2))
        let gradient = normal(width, 3)
        let (output, queryGradient) = (Tensor(rows: rows, columns: width), Tensor(rows: rows, columns: width))
        let (keyGradient, valueGradient) = (
            Tensor(rows: rows, columns: keyWidth), Tensor(rows: rows, columns: keyWidth)
        )
        let logSumExp = Tensor(rows: sequences * shape.heads, columns: shape.length)
        return try slowestSeconds(rounds: rounds, world: world) {
            elapsed {
                CausalAttention.forward(
                    query: query, key: key, value: value, sequences: sequences, sequenceLength: shape.length,
                    heads: shape.heads, keyValueHeads: shape.keyValueHeads, into: output, logSumExp: logSumExp)
                CausalAttention.backward(
                    query: query, key: key, value: value, output: output, logSumExp: logSumExp,
                    outputGradient: gradient, sequences: sequences, sequenceLength: shape.length, heads: shape.heads,
                    keyValueHeads: shape.keyValueHeads, queryGradient: queryGradient, keyGradient: keyGradient,
                    valueGradient: valueGradient)
            }
        }
    }
}
