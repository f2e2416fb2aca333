import Foundation
import GradientChecks
import Layers
import Mixtral
import Tensors
import Testing

/// Models of all types, in one process.
@Suite struct ModelTypeTests {
    private static let names = (try? MixtralConfiguration.samples().map(\.name)) ?? []

    private func configuration(_ name: String) throws -> MixtralConfiguration {
        try #require(try MixtralConfiguration.samples().first { $0.name == name }).configuration
    }

    @Test func thereIsOneOfEachType() throws {
        #expect(Set(try MixtralConfiguration.samples().map(\.configuration.modelType)) == Set(ModelType.allCases))
    }

    /// Each token goes to all experts, so that no choice hangs by what is changed.
    @Test(arguments: names) func gradientsAgreeWithDifferences(name: String) throws {
        let seed: UInt64 = 121
        let sample = try #require(try MixtralConfiguration.samples(expertsPerToken: 4).first { $0.name == name })
        let small = SmallModel(seed: seed, sample.configuration)
        // Norms near 1, as in a trained model: else gradients are so small that rounding shows in differences.
        for (name, parameter) in small.model.namedParameters() where name.contains("norm") {
            for index in 0..<parameter.count { parameter.value[0, index] += 1 }
        }
        let scale = 1 / Float(small.tokens.count)
        let losses = try small.trainingForward(lossScale: scale)
        try small.model.backward(auxiliaryProbabilityGradient: nil)
        #expect(losses.expertLoads == sample.configuration.sparseLayers.map { _ in [10, 10, 10, 10] })
        // The gradients of an expert with one neuron are so small that rounding shows in differences over shorter steps.
        let step: Float = name == "widths" ? 2.4e-2 : 1.2e-2
        try GradientCheck(seed: seed, step: step, tolerance: 1e-2, entries: 8, isFourthOrder: true).expect(
            small.model.subjects()
        ) { try small.trainingForward().lossSum * Double(scale) }
    }

    @Test(arguments: names, Recomputation.allCases)
    func recomputationChangesNothing(name: String, recomputation: Recomputation) throws {
        let small = SmallModel(seed: 122, try configuration(name))
        _ = try small.trainingForward()
        try small.model.backward(auxiliaryProbabilityGradient: nil)
        let expected = small.gradients().map(\.values)
        small.zeroGradients()
        small.model.recomputation = recomputation
        _ = try small.trainingForward()
        try small.model.backward(auxiliaryProbabilityGradient: nil)
        #expect(small.gradients().map(\.values) == expected)
    }

    @Test(arguments: names) func evaluationAgreesWithTraining(name: String) throws {
        let small = SmallModel(seed: 123, try configuration(name))
        let losses = try small.trainingForward()
        let evaluated = try small.evaluationLossSum()
        #expect(abs(evaluated - losses.lossSum) < 1e-6 * losses.lossSum)
    }

    @Test(arguments: names) func weightsAreCounted(name: String) throws {
        let configuration = try configuration(name)
        let parameters = MixtralModel(configuration: configuration).namedParameters()
        #expect(configuration.parameterCount == parameters.reduce(0) { $0 + $1.parameter.count })
        for layer in 0..<configuration.layers {
            let own = parameters.filter {
                $0.name.hasPrefix("model.layers.\(layer).") && !$0.name.contains(".experts.")
            }
            #expect(configuration.denseParameterCount(ofLayer: layer) == own.reduce(0) { $0 + $1.parameter.count })
        }
        let experts = parameters.filter { $0.name.contains(".experts.") }
        #expect(configuration.expertParameterCount == experts.reduce(0) { $0 + $1.parameter.count })
        #expect(configuration.expertWidths.map(\.count) == configuration.sparseLayers.map { _ in 4 })
    }

    /// Matrices decay; norms and biases do not.
    @Test(arguments: names) func whatDecays(name: String) throws {
        for (name, parameter) in MixtralModel(configuration: try configuration(name)).namedParameters() {
            #expect(parameter.decays == !(name.contains("norm") || name.hasSuffix("bias")), "\(name)")
        }
    }

    @Test(arguments: names) func whatIsWrittenIsReadBack(name: String) throws {
        let configuration = try configuration(name)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    /// Biases that are drawn for a new model are 0, norms 1.
    @Test func newWeights() throws {
        let model = MixtralModel(configuration: try configuration("qwen2_moe"))
        try model.loadWeights(from: RandomWeights(seed: 1, standardDeviation: 0.1))
        for (name, parameter) in model.namedParameters() {
            let entries = parameter.value.array
            switch name {
            case _ where name.hasSuffix("bias"): #expect(entries.allSatisfy { $0 == 0 }, "\(name)")
            case _ where name.contains("norm"): #expect(entries.allSatisfy { $0 == 1 }, "\(name)")
            default: #expect(entries.allSatisfy { $0 != 0 && abs($0) < 0.7 }, "\(name)")
            }
        }
    }

    /// A head of its own has no such row.
    @Test(arguments: [false, true]) func thePaddingTokensNewEmbeddingIsZero(tiesEmbeddings: Bool) throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 5, hiddenSize: 8, intermediateSize: 4, layers: 1, heads: 2, experts: 2,
            tiesEmbeddings: tiesEmbeddings, paddingToken: 3)
        let model = MixtralModel(configuration: configuration)
        try model.loadWeights(
            from: RandomWeights(seed: 1, standardDeviation: 0.1, paddingToken: configuration.paddingToken))
        for (name, parameter) in model.namedParameters() {
            let zeros = parameter.value.array.enumerated().filter { $0.element == 0 }.map(\.offset)
            let expected = name == "model.embed_tokens.weight" ? Array(24..<32) : []
            #expect(zeros == expected, "\(name)")
        }
    }

    @Test func theHeadIsTheEmbedding() throws {
        let model = MixtralModel(configuration: try configuration("mixtral, tied"))
        #expect(
            model.namedWeights().map(\.name).filter { $0.contains("embed") || $0.contains("head") } == [
                "model.embed_tokens.weight"
            ])
        #expect(model.stages.count == 5)
    }
}
