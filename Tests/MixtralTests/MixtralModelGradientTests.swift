import GradientChecks
import Layers
import Mixtral
import Tensors
import Testing

@Suite struct MixtralModelGradientTests {
    @Test(arguments: [0, 0.5]) func agreeWithDifferences(auxiliaryCoefficient: Double) throws {
        let seed: UInt64 = 101
        let small = try SmallModel(seed: seed)
        let tokens = small.tokens.count
        let scale = 1 / Float(tokens)
        let losses = try small.trainingForward(lossScale: scale)
        try small.model.backward(
            auxiliaryProbabilityGradient: auxiliaryCoefficient == 0
                ? nil
                : AuxiliaryLoss.gradient(
                    counts: losses.expertLoads, tokens: tokens, coefficient: auxiliaryCoefficient))
        // An expert without tokens would have no gradient to compare.
        #expect(losses.expertLoads.allSatisfy { $0.allSatisfy { $0 > 0 } }, "take another seed than \(seed)")

        try GradientCheck(seed: seed, step: 2e-3, tolerance: 1e-2, entries: 12).expect(small.model.subjects()) {
            let changed = try small.trainingForward()
            #expect(changed.expertLoads == losses.expertLoads, "a choice flipped: take another seed than \(seed)")
            let auxiliary = AuxiliaryLoss.value(
                counts: changed.expertLoads, probabilitySums: changed.probabilitySums, tokens: tokens)
            return changed.lossSum * Double(scale) + auxiliaryCoefficient * auxiliary
        }
    }

    @Test func ofPartsOfABatchAddUp() throws {
        let small = try SmallModel(seed: 102, sequences: 3)
        let whole = try small.trainingForward(lossScale: 0.1)
        try small.model.backward(auxiliaryProbabilityGradient: [1, 2, 3, 4])
        let expected = small.gradients()
        small.zeroGradients()
        var lossSum = 0.0
        for range in [0..<1, 1..<1, 1..<3] {
            lossSum += try small.trainingForward(range, lossScale: 0.1).lossSum
            try small.model.backward(auxiliaryProbabilityGradient: [1, 2, 3, 4])
        }
        #expect(abs(lossSum - whole.lossSum) < 1e-5 * whole.lossSum)
        for (found, expected) in zip(small.gradients(), expected) {
            let largest = expected.values.reduce(0) { max($0, abs($1)) }
            for (value, other) in zip(found.values, expected.values) {
                #expect(abs(value - other) <= 1e-5 * largest, "\(found.name)")
            }
        }
    }

    @Test func thePaddingTokenIsNotTrained() throws {
        let small = try SmallModel(seed: 103, paddingToken: 4)
        #expect(small.tokens.contains(4))
        _ = try small.trainingForward()
        try small.model.backward(auxiliaryProbabilityGradient: nil)
        let embedding = try #require(small.model.namedParameters().first { $0.name == "model.embed_tokens.weight" })
        for (token, row) in (0..<11).map({ ($0, embedding.parameter.gradient.rows($0..<$0 + 1)) }) {
            let isTrained = token != 4 && small.tokens.contains(Int32(token))
            #expect(row.array.contains { $0 != 0 } == isTrained, "token \(token)")
        }
    }
}
