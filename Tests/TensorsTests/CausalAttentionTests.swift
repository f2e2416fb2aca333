import Foundation
import Tensors
import Testing

/// The extents of one case.
struct AttentionCase: CustomTestStringConvertible {
    var sequences: Int
    var length: Int
    var heads: Int
    var keyValueHeads: Int
    var dimension: Int

    var rows: Int { sequences * length }
    var testDescription: String { "S \(sequences), L \(length), H \(heads), KV \(keyValueHeads), d \(dimension)" }

    static let all = [
        AttentionCase(sequences: 0, length: 4, heads: 2, keyValueHeads: 1, dimension: 4),
        AttentionCase(sequences: 2, length: 0, heads: 2, keyValueHeads: 1, dimension: 4),
        AttentionCase(sequences: 3, length: 1, heads: 1, keyValueHeads: 1, dimension: 2),
        AttentionCase(sequences: 2, length: 5, heads: 4, keyValueHeads: 2, dimension: 3),
        AttentionCase(sequences: 1, length: 16, heads: 2, keyValueHeads: 2, dimension: 8),
        AttentionCase(sequences: 2, length: 64, heads: 4, keyValueHeads: 4, dimension: 32),
        AttentionCase(sequences: 1, length: 65, heads: 6, keyValueHeads: 2, dimension: 10),
        AttentionCase(sequences: 1, length: 49, heads: 2, keyValueHeads: 1, dimension: 24),
        AttentionCase(sequences: 1, length: 97, heads: 3, keyValueHeads: 3, dimension: 40),
        AttentionCase(sequences: 2, length: 150, heads: 2, keyValueHeads: 1, dimension: 16),
        AttentionCase(sequences: 1, length: 1030, heads: 1, keyValueHeads: 1, dimension: 4),
    ]
}

@Suite struct CausalAttentionTests {
    @Test(arguments: AttentionCase.all, Layout.allCases)
    func agreesWithTheFormula(shape: AttentionCase, layout: Layout) {
        let samples = Samples(seed: 61)
        let (width, keyWidth) = (shape.heads * shape.dimension, shape.keyValueHeads * shape.dimension)
        let query = samples.normal(shape.rows, width, layout)
        let (key, value) = (samples.normal(shape.rows, keyWidth, layout), samples.normal(shape.rows, keyWidth, layout))
        let output = samples.garbage(shape.rows, width, layout)
        let logSumExp = Tensor(rows: shape.sequences * shape.heads, columns: shape.length, repeating: .nan)
        CausalAttention.forward(
            query: query.tensor, key: key.tensor, value: value.tensor, sequences: shape.sequences,
            sequenceLength: shape.length, heads: shape.heads, keyValueHeads: shape.keyValueHeads,
            into: output.tensor, logSumExp: logSumExp)
        let reference = AttentionReference(
            shape: shape, query: doubles(query.tensor), key: doubles(key.tensor), value: doubles(value.tensor))
        #expect(largestError(output.tensor, reference.output()) < 3e-6, "seed \(samples.seed)")
        #expect(output.isFrameIntact)

        let dy = samples.normal(shape.rows, width, layout)
        let dq = samples.garbage(shape.rows, width, layout)
        let (dk, dv) = (samples.garbage(shape.rows, keyWidth, layout), samples.garbage(shape.rows, keyWidth, layout))
        CausalAttention.backward(
            query: query.tensor, key: key.tensor, value: value.tensor, output: output.tensor, logSumExp: logSumExp,
            outputGradient: dy.tensor, sequences: shape.sequences, sequenceLength: shape.length, heads: shape.heads,
            keyValueHeads: shape.keyValueHeads, queryGradient: dq.tensor, keyGradient: dk.tensor,
            valueGradient: dv.tensor)
        let expected = reference.gradients(of: doubles(dy.tensor))
        #expect(largestError(dq.tensor, expected.query) < 5e-6, "seed \(samples.seed)")
        #expect(largestError(dk.tensor, expected.key) < 5e-6, "seed \(samples.seed)")
        #expect(largestError(dv.tensor, expected.value) < 5e-6, "seed \(samples.seed)")
        #expect(dq.isFrameIntact && dk.isFrameIntact && dv.isFrameIntact)
    }

    /// The formula for the gradients is itself that of the output.
    @Test func theReferenceIsItsOwnDerivative() {
        let samples = Samples(seed: 62)
        let shape = AttentionCase(sequences: 2, length: 4, heads: 4, keyValueHeads: 2, dimension: 3)
        let (query, key, value, dy) = (
            doubles(samples.normal(8, 12).tensor), doubles(samples.normal(8, 6).tensor),
            doubles(samples.normal(8, 6).tensor), doubles(samples.normal(8, 12).tensor)
        )
        let reference = AttentionReference(shape: shape, query: query, key: key, value: value)
        let gradients = reference.gradients(of: dy)
        func check(_ gradient: [Double], _ x: [Double], _ place: WritableKeyPath<AttentionReference, [Double]>) {
            let numerical = numericalGradient(at: x) {
                var moved = reference
                moved[keyPath: place] = $0
                return dot(moved.output(), dy)
            }
            for (a, b) in zip(gradient, numerical) { #expect(abs(a - b) < 1e-7, "seed \(samples.seed)") }
        }
        check(gradients.query, query, \.query)
        check(gradients.key, key, \.key)
        check(gradients.value, value, \.value)
    }

    /// Large scores overflow e^x unless the largest is taken off.
    @Test func largeScores() {
        let shape = AttentionCase(sequences: 1, length: 20, heads: 1, keyValueHeads: 1, dimension: 4)
        let samples = Samples(seed: 63)
        let (query, key) = (samples.normal(20, 4, scale: 100).tensor, samples.normal(20, 4, scale: 100).tensor)
        let value = samples.normal(20, 4).tensor
        let (output, logSumExp) = (Tensor(rows: 20, columns: 4), Tensor(rows: 1, columns: 20))
        CausalAttention.forward(
            query: query, key: key, value: value, sequences: 1, sequenceLength: 20, heads: 1, keyValueHeads: 1,
            into: output, logSumExp: logSumExp)
        let reference = AttentionReference(
            shape: shape, query: doubles(query), key: doubles(key), value: doubles(value))
        // A score of some 10⁴ has an error of about 10⁻³ in fp32.
        #expect(largestError(output, reference.output()) < 2e-2, "seed \(samples.seed)")
        #expect(Reductions.allFinite(logSumExp))
    }

    @Test func nonFiniteKeysShowFromTheirTokenOn() {
        let samples = Samples(seed: 64)
        let (query, key, value) = (
            samples.normal(9, 4).tensor, samples.normal(9, 4).tensor, samples.normal(9, 4).tensor
        )
        key[5, 2] = .nan
        let (output, logSumExp) = (Tensor(rows: 9, columns: 4), Tensor(rows: 1, columns: 9))
        CausalAttention.forward(
            query: query, key: key, value: value, sequences: 1, sequenceLength: 9, heads: 1, keyValueHeads: 1,
            into: output, logSumExp: logSumExp)
        #expect(Reductions.allFinite(output.rows(0..<5)))
        for row in 5..<9 { #expect(output[row, 0].isNaN && logSumExp[0, row].isNaN) }
    }
}
