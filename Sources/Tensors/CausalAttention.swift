import Foundation

/// Scaled dot-product attention in which a token sees itself and those before it: softmax(q·kᵀ / √d, causal)·v, head by head.
/// With fewer key-value heads than heads, neighbouring heads share one (grouped-query attention, arXiv:2305.13245).
///
/// Works on tiles of query rows, each only up to the diagonal, so that no L × L matrix is kept; backward computes the
/// probabilities again from the kept log Σ e^score (as FlashAttention does, arXiv:2205.14135).
///
/// Legend: S sequences, L tokens a sequence, H heads, KV key-value heads, d head dimension.
public enum CausalAttention {
    /// - Parameters:
    ///   - query: (S·L, H·d)
    ///   - key: (S·L, KV·d)
    ///   - value: (S·L, KV·d)
    ///   - output: (S·L, H·d), overwritten.
    ///   - logSumExp: (S·H, L), overwritten: row s·H + h has log Σ e^score of each token, for backward.
    public static func forward(
        query: Tensor, key: Tensor, value: Tensor, sequences: Int, sequenceLength: Int, heads: Int,
        keyValueHeads: Int, into output: Tensor, logSumExp: Tensor
    ) {
        let shape = AttentionShape(
            query: query, key: key, value: value, sequences: sequences, sequenceLength: sequenceLength, heads: heads,
            keyValueHeads: keyValueHeads)
        precondition(output.hasShape(of: query), "output and query differ in shape")
        precondition(logSumExp.hasShape(sequences * heads, sequenceLength), "one sum a head and token")
        let (queries, keys, values) = (query.matrix, key.matrix, value.matrix)
        let (outputs, logSums) = (output.matrix, logSumExp.matrix)
        Threads.split(sequences * heads, cost: shape.costOfHead) { range in
            let scratch = Tensor(rows: shape.tileRows, columns: shape.scoreStride)
            for index in range {
                let (sequence, head) = (index / heads, index % heads)
                let (row, column) = (sequence * sequenceLength, head * shape.dimension)
                let keyColumn = head / shape.group * shape.dimension
                forward(
                    shape, query: queries.from(row, column), key: keys.from(row, keyColumn),
                    value: values.from(row, keyColumn), output: outputs.from(row, column),
                    logSums: logSums.row(index), scores: scratch.pointer)
            }
            withExtendedLifetime(scratch) {}
        }
    }

    /// One head of one sequence.
    private static func forward(
        _ shape: AttentionShape, query: Matrix, key: Matrix, value: Matrix, output: Matrix,
        logSums: MutableEntries, scores: MutableEntries
    ) {
        for tile in shape.tiles {
            let (rows, end) = (tile.count, tile.upperBound)
            GEMM.multiply(
                query.factor(fromRow: tile.lowerBound), key.transposedFactor, rows: rows, columns: end,
                inner: shape.dimension, into: scores, stride: shape.scoreStride, alpha: shape.scale)
            for row in 0..<rows {
                let entries = scores + row &* shape.scoreStride
                let visible = tile.lowerBound + row + 1
                let (largest, sum) = Softmax.exponentials(of: entries, into: entries, count: visible)
                (entries + visible).update(repeating: 0, count: end - visible)
                logSums[tile.lowerBound + row] = largest + log(sum)
                let inverse = 1 / sum
                map(entries, into: entries, count: visible) { $0 * inverse }
            }
            GEMM.multiply(
                GEMM.Factor(scores, stride: shape.scoreStride), value.factor(fromRow: 0), rows: rows,
                columns: shape.dimension, inner: end, into: output.row(tile.lowerBound), stride: output.stride)
        }
    }

    /// - Parameters:
    ///   - query: as in forward, like `key`, `value` and the extents.
    ///   - output: from forward, (S·L, H·d)
    ///   - logSumExp: from forward, (S·H, L)
    ///   - outputGradient: dL/doutput, (S·L, H·d)
    ///   - queryGradient: (S·L, H·d), overwritten.
    ///   - keyGradient: (S·L, KV·d), overwritten.
    ///   - valueGradient: (S·L, KV·d), overwritten.
    public static func backward(
        query: Tensor, key: Tensor, value: Tensor, output: Tensor, logSumExp: Tensor, outputGradient: Tensor,
        sequences: Int, sequenceLength: Int, heads: Int, keyValueHeads: Int,
        queryGradient: Tensor, keyGradient: Tensor, valueGradient: Tensor
    ) {
        let shape = AttentionShape(
            query: query, key: key, value: value, sequences: sequences, sequenceLength: sequenceLength, heads: heads,
            keyValueHeads: keyValueHeads)
        precondition(output.hasShape(of: query) && outputGradient.hasShape(of: query), "shapes differ")
        precondition(logSumExp.hasShape(sequences * heads, sequenceLength), "one sum a head and token")
        precondition(queryGradient.hasShape(of: query), "shapes differ")
        precondition(keyGradient.hasShape(of: key) && valueGradient.hasShape(of: value), "shapes differ")
        let (queries, keys, values, outputs) = (query.matrix, key.matrix, value.matrix, output.matrix)
        let (logSums, gradients) = (logSumExp.matrix, outputGradient.matrix)
        let results = (query: queryGradient.matrix, key: keyGradient.matrix, value: valueGradient.matrix)
        // The heads that share keys and values stay on one thread, because they add to the same gradients.
        Threads.split(sequences * keyValueHeads, cost: 2 * shape.group * shape.costOfHead) { range in
            let scratch = Tensor(rows: 2 * shape.tileRows, columns: shape.scoreStride)
            for index in range {
                let (sequence, keyHead) = (index / keyValueHeads, index % keyValueHeads)
                let (row, keyColumn) = (sequence * sequenceLength, keyHead * shape.dimension)
                for member in 0..<shape.group {
                    let head = keyHead * shape.group + member
                    let column = head * shape.dimension
                    let pass = BackwardPass(
                        shape: shape, query: queries.from(row, column), key: keys.from(row, keyColumn),
                        value: values.from(row, keyColumn), output: outputs.from(row, column),
                        outputGradient: gradients.from(row, column), logSums: logSums.row(sequence * heads + head),
                        queryGradient: results.query.from(row, column), keyGradient: results.key.from(row, keyColumn),
                        valueGradient: results.value.from(row, keyColumn))
                    pass.run(
                        scores: scratch.pointer,
                        gradients: scratch.pointer + shape.tileRows * shape.scoreStride, adding: member > 0)
                }
            }
            withExtendedLifetime(scratch) {}
        }
    }

    /// One head of one sequence.
    private struct BackwardPass {
        let shape: AttentionShape
        let query: Matrix
        let key: Matrix
        let value: Matrix
        let output: Matrix
        let outputGradient: Matrix
        let logSums: Entries
        let queryGradient: Matrix
        let keyGradient: Matrix
        let valueGradient: Matrix

        /// - Parameter adding: whether the gradients of keys and values are added to.
        func run(scores: MutableEntries, gradients: MutableEntries, adding: Bool) {
            let (stride, dimension) = (shape.scoreStride, shape.dimension)
            // The last tile sees all keys, so it comes first and overwrites.
            for (order, tile) in shape.tiles.reversed().enumerated() {
                let (rows, end) = (tile.count, tile.upperBound)
                let beta: Float = adding || order > 0 ? 1 : 0
                let (queryTile, gradientTile) = (
                    query.factor(fromRow: tile.lowerBound), outputGradient.factor(fromRow: tile.lowerBound)
                )
                GEMM.multiply(
                    queryTile, key.transposedFactor, rows: rows, columns: end, inner: dimension, into: scores,
                    stride: stride, alpha: shape.scale)
                GEMM.multiply(
                    gradientTile, value.transposedFactor, rows: rows, columns: end, inner: dimension,
                    into: gradients, stride: stride)
                for row in 0..<rows {
                    let token = tile.lowerBound + row
                    differentiate(
                        scores + row &* stride, gradients + row &* stride, logSum: logSums[token],
                        mean: dotProduct(output.row(token), outputGradient.row(token), count: dimension),
                        visible: token + 1, end: end)
                }
                GEMM.multiply(
                    GEMM.Factor(scores, stride: stride, transposed: true), gradientTile, rows: end,
                    columns: dimension, inner: rows, into: valueGradient.entries, stride: valueGradient.stride,
                    beta: beta)
                GEMM.multiply(
                    GEMM.Factor(gradients, stride: stride, transposed: true), queryTile, rows: end,
                    columns: dimension, inner: rows, into: keyGradient.entries, stride: keyGradient.stride,
                    alpha: shape.scale, beta: beta)
                GEMM.multiply(
                    GEMM.Factor(gradients, stride: stride), key.factor(fromRow: 0), rows: rows, columns: dimension,
                    inner: end, into: queryGradient.row(tile.lowerBound), stride: queryGradient.stride,
                    alpha: shape.scale)
            }
        }

        /// Scores become probabilities p, gradients of the probabilities become those of the scores: p ⊙ (dp − Σ p·dp).
        @inline(__always)
        private func differentiate(
            _ scores: MutableEntries, _ gradients: MutableEntries, logSum: Float, mean: Float, visible: Int, end: Int
        ) {
            map(scores, into: scores, count: visible) { exponential($0 - logSum) }
            map(scores, gradients, into: gradients, count: visible) { $0 * ($1 - mean) }
            (scores + visible).update(repeating: 0, count: end - visible)
            (gradients + visible).update(repeating: 0, count: end - visible)
        }
    }
}
