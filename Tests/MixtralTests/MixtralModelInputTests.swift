import GradientChecks
import Layers
import Mixtral
import Tensors
import Testing

@Suite struct MixtralModelInputTests {
    @Test(arguments: [11, 4000, -1] as [Int32]) func tokensOutsideTheVocabularyAreRefused(token: Int32) throws {
        let model = try SmallModel(seed: 121).model
        let error = MixtralError.tokenOutsideVocabulary(token: Int(token), position: 2, vocabularySize: 11)
        let (good, bad) = ([1, 2, 3, 4] as [Int32], [1, 2, token, 4])
        #expect(throws: error) { try model.logits(tokens: bad, sequences: 2, sequenceLength: 2) }
        #expect(throws: error) {
            try model.evaluationLossSum(tokens: good, targets: bad, sequences: 1, sequenceLength: 4)
        }
        #expect(throws: error) {
            try model.trainingForward(tokens: good, targets: bad, sequences: 1, sequenceLength: 4, lossScale: 1)
        }
        #expect("\(error)".contains("token \(token) at position 2 is outside the vocabulary of 11 tokens"))
    }

    @Test func sequencesOutOfRangeAreRefused() throws {
        let model = try SmallModel(seed: 122).model
        let tokens = [Int32](repeating: 0, count: 17)
        #expect(throws: MixtralError.sequenceTooLong(length: 17, maximumPositions: 16)) {
            try model.logits(tokens: tokens, sequences: 1, sequenceLength: 17)
        }
        #expect(throws: MixtralError.tokenCount(found: 17, sequences: 2, sequenceLength: 8)) {
            try model.logits(tokens: tokens, sequences: 2, sequenceLength: 8)
        }
    }

    /// Where a weight that is not finite does its harm first.
    @Test(arguments: [
        ("model.embed_tokens.weight", 0), ("model.layers.0.self_attn.o_proj.weight", 0),
        ("model.layers.0.block_sparse_moe.gate.weight", 0), ("model.layers.1.input_layernorm.weight", 1),
        ("model.layers.2.block_sparse_moe.experts.0.w2.weight", 2), ("model.norm.weight", 3), ("lm_head.weight", 3),
    ])
    func theFirstLayerThatIsNotFiniteIsFound(name: String, layer: Int) throws {
        let small = try SmallModel(seed: 123, layers: 3, experts: 2)
        #expect(try small.trainingForward().lossSum.isFinite)
        #expect(small.model.firstNonFiniteLayer() == nil)
        let weight = try #require(small.model.namedParameters().first { $0.name == name })
        weight.parameter.value.fill(.nan)
        #expect(try !small.trainingForward().lossSum.isFinite)
        #expect(small.model.firstNonFiniteLayer() == layer)
    }
}
