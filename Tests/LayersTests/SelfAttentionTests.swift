import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct SelfAttentionTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        var heads = 4
        var keyValueHeads = 2
        var headDimension = 4
        var sequences = 2
        var length = 6
        var testDescription: String { "H \(heads) KV \(keyValueHeads) d \(headDimension) S \(sequences) L \(length)" }
    }

    private static func forward(
        _ attention: SelfAttention, _ x: Tensor, _ shape: Shape, saving: Bool = false
    ) -> Tensor {
        attention.forward(
            x, sequences: shape.sequences, sequenceLength: shape.length,
            rotary: RotaryEmbedding(headDimension: shape.headDimension, base: 100, maximumPositions: 32),
            savingForBackward: saving)
    }

    @Test(arguments: [
        Shape(), Shape(keyValueHeads: 4), Shape(keyValueHeads: 1), Shape(heads: 1, keyValueHeads: 1, headDimension: 2),
        Shape(headDimension: 8, sequences: 1, length: 17), Shape(sequences: 3, length: 2),
    ])
    func gradients(shape: Shape) {
        let seed: UInt64 = 21
        let hiddenSize = 10
        let attention = SelfAttention(
            hiddenSize: hiddenSize, heads: shape.heads, keyValueHeads: shape.keyValueHeads,
            headDimension: shape.headDimension)
        attention.randomize(seed: seed, scale: 0.3)
        let tokens = shape.sequences * shape.length
        let x = Tensor.normal(tokens, hiddenSize, seed: seed, "x")
        let dy = Tensor.normal(tokens, hiddenSize, seed: seed, "dy")
        _ = Self.forward(attention, x, shape, saving: true)
        let dx = attention.backward(dy)
        GradientCheck(seed: seed).expect(attention.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            Self.forward(attention, x, shape).product(with: dy)
        }
    }

    @Test func seesNeitherLaterTokensNorOtherSequences() {
        let shape = Shape(sequences: 2, length: 5)
        let attention = SelfAttention(hiddenSize: 6, heads: 4, keyValueHeads: 2, headDimension: 4)
        attention.randomize(seed: 22, scale: 0.5)
        let x = Tensor.normal(10, 6, seed: 22, "x")
        let before = Self.forward(attention, x, shape).array
        x.rows(3..<4).fill(2)
        let after = Self.forward(attention, x, shape).array
        for token in 0..<10 {
            let row = token * 6..<(token + 1) * 6
            #expect((before[row] == after[row]) == !(3..<5).contains(token), "token \(token)")
        }
    }

    @Test func takesNoSequences() {
        let attention = SelfAttention(hiddenSize: 6, heads: 2, keyValueHeads: 1, headDimension: 4)
        attention.randomize(seed: 23, scale: 0.5)
        let y = Self.forward(attention, Tensor(rows: 0, columns: 6), Shape(sequences: 0, length: 5), saving: true)
        #expect(y.rows == 0)
        #expect(attention.backward(y).rows == 0)
    }
}
