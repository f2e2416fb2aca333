import Foundation
import Tensors

/// The logarithm of Σ e^z of each row z, and e^z over the sum.
struct LogSumExp {
    /// T entries.
    let values: [Float]
    /// (T, E)
    let probabilities: Tensor

    init(of logits: Tensor) {
        let columns = logits.columns
        let probabilities = Tensor(rows: logits.rows, columns: columns)
        Softmax.forward(logits, into: probabilities)
        let (z, p) = (logits.span, probabilities.span)
        values = stride(from: 0, to: z.count, by: columns).map { start in
            var (largest, probability) = (z[start], p[start])
            for index in start + 1..<start + columns {
                largest = max(largest, z[index])
                probability = max(probability, p[index])
            }
            // The largest entry's probability is 1 / Σ e^(z − max z).
            return largest - log(probability)
        }
        self.probabilities = probabilities
    }

    var sumOfSquares: Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
}
