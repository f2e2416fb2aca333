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
        var biases = ProjectionBiases.none
        var norm: QueryKeyNorm.Scope?
        var testDescription: String {
            "H \(heads) KV \(keyValueHeads) d \(headDimension) S \(sequences) L \(length) biases \(biases) norm "
                + (norm.map { "\($0)" } ?? "none")
        }

        func attention(hiddenSize: Int) -> SelfAttention {
            SelfAttention(
                hiddenSize: hiddenSize, heads: heads, keyValueHeads: keyValueHeads, headDimension: headDimension,
                biases: biases, norm: norm.map { QueryKeyNorm(scope: $0, epsilon: 1e-3) })
        }
    }

    private static func forward(
        _ attention: SelfAttention, _ x: Tensor, _ shape: Shape, saving: Bool = false
    ) throws -> Tensor {
        try attention.forward(
            x, sequences: shape.sequences, sequenceLength: shape.length,
            rotary: RotaryEmbedding(headDimension: shape.headDimension, base: 100, maximumPositions: 32),
            savingForBackward: saving)
    }

    @Test(arguments: [
        Shape(), Shape(keyValueHeads: 4), Shape(keyValueHeads: 1), Shape(heads: 1, keyValueHeads: 1, headDimension: 2),
        Shape(headDimension: 8, sequences: 1, length: 17), Shape(sequences: 3, length: 2), Shape(biases: .inputs),
        Shape(biases: .all), Shape(norm: .head), Shape(norm: .allHeads), Shape(biases: .all, norm: .head),
        Shape(keyValueHeads: 1, biases: .inputs, norm: .allHeads),
    ])
    func gradients(shape: Shape) throws {
        let seed: UInt64 = 21
        let hiddenSize = 10
        let attention = shape.attention(hiddenSize: hiddenSize)
        attention.randomize(seed: seed, scale: 0.3)
        let tokens = shape.sequences * shape.length
        let x = Tensor.normal(tokens, hiddenSize, seed: seed, "x")
        let dy = Tensor.normal(tokens, hiddenSize, seed: seed, "dy")
        _ = try Self.forward(attention, x, shape, saving: true)
        let dx = try attention.backward(dy)
        try GradientCheck(seed: seed).expect(attention.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            try Self.forward(attention, x, shape).product(with: dy)
        }
    }

    /// How large queries and keys are does not matter any more, but for ε.
    @Test func normsComeBeforeRotation() throws {
        let shape = Shape(norm: .head)
        let attention = shape.attention(hiddenSize: 10)
        attention.randomize(seed: 24, scale: 0.3)
        let x = Tensor.normal(12, 10, seed: 24, "x")
        let expected = try Self.forward(attention, x, shape).array
        for (name, parameter) in attention.namedParameters() where name == "q_proj.weight" || name == "k_proj.weight" {
            parameter.value.copy(
                from: Tensor(
                    parameter.value.array.map { $0 * 50 }, rows: parameter.rows, columns: parameter.columns))
        }
        #expect(attention.namedParameters().map(\.name).suffix(2) == ["q_norm.weight", "k_norm.weight"])
        let found = try Self.forward(attention, x, shape).array
        for (a, b) in zip(expected, found) { #expect(abs(a - b) < 1e-2) }
    }

    /// Parts of the heads add up to all, the last bias once.
    @Test(arguments: [ProjectionBiases.none, .inputs, .all]) func partsAddUp(biases: ProjectionBiases) throws {
        let shape = Shape(biases: biases, norm: .head)
        let whole = shape.attention(hiddenSize: 6)
        whole.randomize(seed: 25, scale: 0.5)
        let x = Tensor.normal(12, 6, seed: 25, "x")
        let expected = try Self.forward(whole, x, shape).array
        let weights = Dictionary(uniqueKeysWithValues: whole.namedParameters().map { ($0.name, $0.parameter.value) })
        let sum = Tensor(rows: 12, columns: 6, repeating: 0)
        for place in 0..<2 {
            let part = whole.part(heads: 2, keyValueHeads: 1, addsOutputBias: place == 0)
            for (name, parameter) in part.namedParameters() {
                let all = try #require(weights[name])
                let size = name.hasPrefix("k_") || name.hasPrefix("v_") ? 4 : 8
                let own = place * size..<(place + 1) * size
                switch name {
                case "o_proj.weight": parameter.value.copy(from: all.columns(own))
                case "o_proj.bias", "q_norm.weight", "k_norm.weight": parameter.value.copy(from: all)
                case _ where name.hasSuffix("bias"): parameter.value.copy(from: all.columns(own))
                default: parameter.value.copy(from: all.rows(own))
                }
            }
            Rows.add(try Self.forward(part, x, Shape(heads: 2, keyValueHeads: 1)), into: sum)
        }
        for (a, b) in zip(expected, sum.array) { #expect(abs(a - b) < 1e-5) }
    }

    @Test func seesNeitherLaterTokensNorOtherSequences() throws {
        let shape = Shape(sequences: 2, length: 5)
        let attention = SelfAttention(hiddenSize: 6, heads: 4, keyValueHeads: 2, headDimension: 4)
        attention.randomize(seed: 22, scale: 0.5)
        let x = Tensor.normal(10, 6, seed: 22, "x")
        let before = try Self.forward(attention, x, shape).array
        x.rows(3..<4).fill(2)
        let after = try Self.forward(attention, x, shape).array
        for token in 0..<10 {
            let row = token * 6..<(token + 1) * 6
            #expect((before[row] == after[row]) == !(3..<5).contains(token), "token \(token)")
        }
    }

    @Test func takesNoSequences() throws {
        let attention = SelfAttention(hiddenSize: 6, heads: 2, keyValueHeads: 1, headDimension: 4)
        attention.randomize(seed: 23, scale: 0.5)
        let y = try Self.forward(attention, Tensor(rows: 0, columns: 6), Shape(sequences: 0, length: 5), saving: true)
        #expect(y.rows == 0)
        #expect(try attention.backward(y).rows == 0)
    }
}
