import Foundation

/// Scaled dot-product attention in which a token sees itself and those before it: softmax(q·kᵀ / √d, causal)·v, head by head.
/// With fewer key-value heads than heads, neighbouring heads share one (grouped-query attention, arXiv:2305.13245).
///
/// Works on tiles of query rows, each only up to the diagonal, so that no L × L matrix is kept; backward computes the
/// probabilities again from the kept log Σ e^score (as FlashAttention does, arXiv:2205.14135).
///
/// Legend: S sequences, L tokens a sequence, H heads, KV key-value heads, d head dimension.
public enum CausalAttention {
    /// Entries that a pass takes besides its tensors: those of each of `threads` that has a key-value head of a sequence to work at.
    public static func scratchEntries(
        sequences: Int, sequenceLength: Int, keyValueHeads: Int, headDimension: Int, threads: Int
    ) -> Int {
        min(threads, sequences * keyValueHeads)
            * AttentionScratch.counts(sequenceLength: sequenceLength, dimension: headDimension).reduce(0, +)
    }

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
        // Heads that share keys and values stay together, so that these are copied once.
        Threads.split(sequences * keyValueHeads, cost: shape.group * shape.costOfHead) { range in
            let scratch = AttentionScratch(shape)
            for index in range {
                let (sequence, keyHead) = (index / keyValueHeads, index % keyValueHeads)
                let (row, keyColumn) = (sequence * sequenceLength, keyHead * shape.dimension)
                scratch.transposedKeys.copyTransposed(from: keys.from(row, keyColumn), columns: sequenceLength)
                scratch.factor.copy(from: values.from(row, keyColumn), columns: shape.dimension)
                for head in keyHead * shape.group..<(keyHead + 1) * shape.group {
                    let column = head * shape.dimension
                    forward(
                        shape, query: queries.from(row, column), output: outputs.from(row, column),
                        logSums: logSums.row(sequence * heads + head), scratch: scratch)
                }
            }
            withExtendedLifetime(scratch) {}
        }
    }

    /// One head of one sequence, whose keys and values are in `scratch`.
    private static func forward(
        _ shape: AttentionShape, query: Matrix, output: Matrix, logSums: MutableEntries, scratch: AttentionScratch
    ) {
        let (scores, inverseSums) = (scratch.scores, scratch.inverseSums)
        for tile in shape.tiles {
            let rows = tile.count
            CausalProduct.multiply(
                query.factor(fromRow: tile.lowerBound), scratch.transposedKeys, rows: rows, columns: tile.upperBound,
                into: scores, alpha: shape.scale, triangle: .result, first: tile.lowerBound)
            for row in 0..<rows {
                let entries = scores.row(row)
                let visible = tile.lowerBound + row + 1
                let (largest, sum) = Softmax.exponentials(of: entries, into: entries, count: visible)
                CausalProduct.clearOverhang(entries + visible, count: tile.upperBound - visible)
                logSums[tile.lowerBound + row] = largest + log(sum)
                inverseSums[row] = 1 / sum
            }
            CausalProduct.multiply(
                scores.factor(fromRow: 0), scratch.factor, rows: rows, columns: shape.dimension,
                into: output.from(tile.lowerBound, 0), triangle: .left, first: tile.lowerBound)
            // The output's rows are shorter than those of the scores.
            for row in 0..<rows {
                let entries = output.row(tile.lowerBound + row)
                writeScaled(entries, by: inverseSums[row], into: entries, count: shape.dimension)
            }
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
            let scratch = AttentionScratch(shape)
            for index in range {
                let (sequence, keyHead) = (index / keyValueHeads, index % keyValueHeads)
                let (row, keyColumn) = (sequence * sequenceLength, keyHead * shape.dimension)
                let (key, value) = (keys.from(row, keyColumn), values.from(row, keyColumn))
                scratch.factor.copy(from: key, columns: shape.dimension)
                scratch.transposedKeys.copyTransposed(from: key, columns: sequenceLength)
                scratch.transposedValues.copyTransposed(from: value, columns: sequenceLength)
                for member in 0..<shape.group {
                    let head = keyHead * shape.group + member
                    let column = head * shape.dimension
                    let pass = BackwardPass(
                        shape: shape, scratch: scratch, query: queries.from(row, column),
                        output: outputs.from(row, column), outputGradient: gradients.from(row, column),
                        logSums: logSums.row(sequence * heads + head),
                        queryGradient: results.query.from(row, column), keyGradient: results.key.from(row, keyColumn),
                        valueGradient: results.value.from(row, keyColumn))
                    pass.run(adding: member > 0)
                }
            }
            withExtendedLifetime(scratch) {}
        }
    }

    /// One head of one sequence, whose keys and values are in `scratch`.
    private struct BackwardPass {
        let shape: AttentionShape
        let scratch: AttentionScratch
        let query: Matrix
        let output: Matrix
        let outputGradient: Matrix
        let logSums: Entries
        let queryGradient: Matrix
        let keyGradient: Matrix
        let valueGradient: Matrix

        /// - Parameter adding: whether the gradients of keys and values are added to.
        func run(adding: Bool) {
            // The last tile sees all keys, so it comes first and overwrites.
            for (order, tile) in shape.tiles.reversed().enumerated() {
                run(tile, beta: adding || order > 0 ? 1 : 0)
            }
        }

        private func run(_ tile: Range<Int>, beta: Float) {
            let (rows, end, dimension, first) = (tile.count, tile.upperBound, shape.dimension, tile.lowerBound)
            let (scores, gradients) = (scratch.scores, scratch.gradients)
            CausalProduct.multiply(
                query.factor(fromRow: first), scratch.transposedKeys, rows: rows, columns: end, into: scores,
                alpha: shape.scale, triangle: .result, first: first)
            CausalProduct.multiply(
                outputGradient.factor(fromRow: first), scratch.transposedValues, rows: rows, columns: end,
                into: gradients, triangle: .result, first: first)
            for row in 0..<rows {
                let token = tile.lowerBound + row
                differentiate(
                    scores.row(row), gradients.row(row), logSum: logSums[token],
                    mean: dotProduct(output.row(token), outputGradient.row(token), count: dimension),
                    visible: token + 1, end: end)
            }
            let queries = scratch.queries(rows: rows)
            let outputGradients = scratch.outputGradients(rows: rows)
            queries.copy(from: query.from(first, 0), columns: dimension)
            outputGradients.copy(from: outputGradient.from(first, 0), columns: dimension)
            CausalProduct.multiply(
                scores.transposedFactor, outputGradients, rows: end, columns: dimension, into: valueGradient,
                beta: beta, triangle: .transposedLeft, first: first)
            CausalProduct.multiply(
                gradients.transposedFactor, queries, rows: end, columns: dimension, into: keyGradient,
                alpha: shape.scale, beta: beta, triangle: .transposedLeft, first: first)
            CausalProduct.multiply(
                gradients.factor(fromRow: 0), scratch.factor, rows: rows, columns: dimension,
                into: queryGradient.from(first, 0), alpha: shape.scale, triangle: .left, first: first)
        }

        /// Scores become probabilities p, gradients of the probabilities become those of the scores: p ⊙ (dp − Σ p·dp).
        @inline(always)
        private func differentiate(
            _ scores: MutableEntries, _ gradients: MutableEntries, logSum: Float, mean: Float, visible: Int, end: Int
        ) {
            var i = 0
            while i &+ 16 <= visible {
                let probability = exponential(Lanes(scores + i) - logSum)
                probability.store(to: scores + i)
                (probability * (Lanes(gradients + i) - mean)).store(to: gradients + i)
                i &+= 16
            }
            let rest = visible &- i
            if rest > 0 {
                let probability = exponential(Lanes(scores + i, first: rest) - logSum)
                probability.store(to: scores + i, first: rest)
                (probability * (Lanes(gradients + i, first: rest) - mean)).store(to: gradients + i, first: rest)
            }
            CausalProduct.clearOverhang(scores + visible, count: end - visible)
            CausalProduct.clearOverhang(gradients + visible, count: end - visible)
        }
    }
}
