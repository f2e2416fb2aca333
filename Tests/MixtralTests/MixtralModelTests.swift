import GradientChecks
import Layers
import Mixtral
import Tensors
import Testing

@Suite struct MixtralModelTests {
    /// As `MixtralForCausalLM.state_dict()` lists them (transformers 4; 5 writes the same names).
    @Test func weightsHaveTheNamesAndShapesOfHuggingFace() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 65, hiddenSize: 16, intermediateSize: 24, layers: 2, heads: 4, keyValueHeads: 2, experts: 3)
        var expected: [(String, [Int])] = [("model.embed_tokens.weight", [65, 16])]
        for layer in 0..<2 {
            let path = "model.layers.\(layer)"
            expected += [
                ("\(path).self_attn.q_proj.weight", [16, 16]), ("\(path).self_attn.k_proj.weight", [8, 16]),
                ("\(path).self_attn.v_proj.weight", [8, 16]), ("\(path).self_attn.o_proj.weight", [16, 16]),
                ("\(path).block_sparse_moe.gate.weight", [3, 16]),
            ]
            for expert in 0..<3 {
                expected += [
                    ("\(path).block_sparse_moe.experts.\(expert).w1.weight", [24, 16]),
                    ("\(path).block_sparse_moe.experts.\(expert).w2.weight", [16, 24]),
                    ("\(path).block_sparse_moe.experts.\(expert).w3.weight", [24, 16]),
                ]
            }
            expected += [
                ("\(path).input_layernorm.weight", [16]), ("\(path).post_attention_layernorm.weight", [16]),
            ]
        }
        expected += [("model.norm.weight", [16]), ("lm_head.weight", [65, 16])]

        let model = MixtralModel(configuration: configuration)
        let weights = model.namedWeights()
        #expect(weights.map(\.name) == expected.map(\.0))
        #expect(weights.map(\.shape) == expected.map(\.1))
        #expect(model.namedParameters().allSatisfy { !$0.parameter.isMaterialized })
        #expect(configuration.parameterCount == weights.reduce(0) { $0 + $1.shape.reduce(1, *) })
    }

    @Test func evaluationAgreesWithTrainingAndLogits() throws {
        let small = try SmallModel(seed: 111)
        let losses = try small.trainingForward()
        let evaluated = try small.evaluationLossSum()
        #expect(abs(evaluated - losses.lossSum) < 1e-6 * losses.lossSum)
        let logits = try small.model.logits(
            tokens: small.tokens, sequences: small.sequences, sequenceLength: small.sequenceLength)
        #expect(logits.rows == 10 && logits.columns == 11)
        #expect(abs(CrossEntropy.forward(logits: logits, targets: small.targets) - evaluated) < 1e-6 * evaluated)
        let last = try small.model.lastLogits(
            tokens: small.tokens, sequences: small.sequences, sequenceLength: small.sequenceLength)
        #expect(last.rows == small.sequences && last.columns == 11)
        for sequence in 0..<last.rows {
            for token in 0..<11 {
                let expected = logits[(sequence + 1) * small.sequenceLength - 1, token]
                #expect(abs(last[sequence, token] - expected) <= 1e-5 * max(1, abs(expected)))
            }
        }
    }

    /// Logits and their gradients are most of what it takes.
    private static func largeVocabulary(seed: UInt64) throws -> SmallModel {
        SmallModel(
            seed: seed,
            try MixtralConfiguration(
                vocabularySize: 4096, hiddenSize: 16, intermediateSize: 8, layers: 2, heads: 2, keyValueHeads: 2,
                experts: 2),
            sequences: 8, sequenceLength: 16)
    }

    /// A step whose gradient is not finite has no backward pass.
    @Test func logitsOfASkippedStepGoBeforeTheNext() throws {
        let small = try Self.largeVocabulary(seed: 116)
        _ = try small.trainingForward()
        let before = StoragePool.shared.use.bytes
        StoragePool.shared.resetPeak()
        _ = try small.trainingForward()
        let logits = small.tokens.count * 4096 * MemoryLayout<Float>.stride
        #expect(StoragePool.shared.use.peakBytes < before + logits / 2)
    }

    /// With a large vocabulary they are larger than all that the layers keep.
    @Test func logitsGoBeforeTheLayersWork() throws {
        let small = try Self.largeVocabulary(seed: 115)
        _ = try small.trainingForward()
        let before = StoragePool.shared.use.bytes
        let logits = small.tokens.count * 4096 * MemoryLayout<Float>.stride
        var stages = 0
        try small.model.backward(auxiliaryProbabilityGradient: nil) { _ in
            stages += 1
            #expect(StoragePool.shared.use.bytes < before - logits / 2)
        }
        #expect(stages == 4)
    }

    @Test func evaluationTakesManyRows() throws {
        let small = try SmallModel(seed: 112, layers: 1, sequences: 150, sequenceLength: 16)
        let losses = try small.trainingForward()
        let evaluated = try small.evaluationLossSum()
        #expect(abs(evaluated - losses.lossSum) < 1e-5 * losses.lossSum)
    }

    @Test func statisticsCountEachChoice() throws {
        let small = try SmallModel(seed: 113)
        let losses = try small.trainingForward()
        #expect(losses.expertLoads.map { $0.reduce(0, +) } == [20, 20])
        for sums in losses.probabilitySums { #expect(abs(sums.reduce(0, +) - 10) < 1e-5) }
    }

    @Test func onlyTrainingKeepsActivations() throws {
        /// What modules hold in properties called `saved…`.
        func kept(_ model: MixtralModel) -> [String] {
            model.namedModules().flatMap { path, module in
                Mirror(reflecting: module).children.compactMap { label, value in
                    guard let label, label.hasPrefix("saved") || label == "logitGradient" else { return nil }
                    return Mirror(reflecting: value).children.isEmpty ? nil : "\(path).\(label)"
                }
            }
        }
        let small = try SmallModel(seed: 114)
        _ = try small.trainingForward()
        #expect(kept(small.model).count > 20)
        try small.model.backward(auxiliaryProbabilityGradient: nil)
        #expect(kept(small.model) == [])
        _ = try small.evaluationLossSum()
        #expect(kept(small.model) == [])
        _ = try small.model.logits(tokens: [1, 2], sequences: 1, sequenceLength: 2)
        _ = try small.model.lastLogits(tokens: [1, 2], sequences: 1, sequenceLength: 2)
        #expect(kept(small.model) == [])
    }

    /// Experts that only count how often they are asked.
    private final class CountingExperts: ExpertGroup {
        let expertCount = 4
        let widths = [7, 7, 7, 7]
        let hiddenSize = 12
        var forwards = [Int]()
        var backwards = [Int]()

        func forward(_ x: Tensor, routing: Routing, savingForBackward: Bool) throws -> Tensor {
            forwards.append(routing.count)
            return Tensor(rows: x.rows, columns: x.columns, repeating: 0)
        }

        func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float]) {
            backwards.append(outputGradient.rows)
            return (Tensor(rows: outputGradient.rows, columns: outputGradient.columns, repeating: 0), [])
        }
    }

    @Test(arguments: [0, 5]) func withoutSequencesTheExpertsAreAskedAllTheSame(sequenceLength: Int) throws {
        let small = try SmallModel(seed: 115)
        let counting = CountingExperts()
        for (path, module) in small.model.namedModules() where path.hasSuffix("block_sparse_moe") {
            try module.replaceChild("experts", with: counting)
        }
        let losses = try small.model.trainingForward(
            tokens: [], targets: [], sequences: 0, sequenceLength: sequenceLength, lossScale: 1)
        #expect(losses.lossSum == 0 && losses.expertLoads == [[0, 0, 0, 0], [0, 0, 0, 0]])
        #expect(losses.probabilitySums == [[0, 0, 0, 0], [0, 0, 0, 0]])
        try small.model.backward(auxiliaryProbabilityGradient: [1, 2, 3, 4])
        #expect(
            try small.model.evaluationLossSum(
                tokens: [], targets: [], sequences: 0, sequenceLength: sequenceLength) == 0)
        #expect(
            try small.model.logits(tokens: [], sequences: 0, sequenceLength: sequenceLength).rows == 0)
        #expect(counting.forwards == [0, 0, 0, 0, 0, 0] && counting.backwards == [0, 0])
        for (name, values) in small.gradients() { #expect(values.allSatisfy { $0 == 0 }, "\(name)") }
    }

    @Test func longerSequencesFollowShorterOnes() throws {
        let small = try SmallModel(seed: 116)
        let long = [Int32](repeating: 4, count: 16)
        let fresh = try SmallModel(seed: 116).model.logits(tokens: long, sequences: 1, sequenceLength: 16)
        for length in [2, 3, 9, 16, 1] {
            let logits = try small.model.logits(
                tokens: Array(long.prefix(length)), sequences: 1, sequenceLength: length)
            for (found, expected) in zip(logits.array, fresh.array) { #expect(abs(found - expected) < 1e-4) }
        }
    }

    @Test func theTimerGetsAllPhasesOfOneProcess() throws {
        let timer = PhaseTimer()
        let model = MixtralModel(configuration: try SmallModel(seed: 117).model.configuration, timer: timer)
        model.randomize(seed: 117, scale: 0.1)
        _ = try model.logits(tokens: [1, 2, 3], sequences: 1, sequenceLength: 3)
        #expect(Set(timer.take().keys) == [.attention, .router, .experts])
    }
}
