import Foundation
import Layers
import Mixtral
import Safetensors
import Tensors
import Testing

/// One pass of the model in one process against transformers' `MixtralForCausalLM`, and the classes of the other types.
@Suite struct GoldenValueTests {
    static let otherTypes = ["tied", "olmoe", "qwen2-moe", "qwen3-moe", "qwen3-moe-tied", "dots1", "deepseek"]

    @Test(arguments: ["base", "sharded", "fused", "top-1", "top-3"] + otherTypes)
    func logitsAndLossAreThoseOfTransformers(name: String) throws {
        let golden = try GoldenValues.load()
        let expectedName = name == "sharded" ? "base" : name
        let expected = try #require(golden.models[expectedName])
        let model = try GoldenValues.model(name)
        let (tokens, targets) = GoldenValues.split(expected.tokens)
        let (sequences, length) = (golden.sequences, golden.sequenceLength)

        let logits = try model.logits(tokens: tokens, sequences: sequences, sequenceLength: length)
        let (difference, largest) = compare(try GoldenValues.tensors(of: expectedName).read("logits"), logits)
        print("\(name): logits up to \(largest), differ by at most \(difference)")
        #expect(difference < 3e-5)

        let lossSum = try model.evaluationLossSum(
            tokens: tokens, targets: targets, sequences: sequences, sequenceLength: length)
        #expect(abs(lossSum / Double(tokens.count) - expected.loss) < 1e-5)
    }

    @Test(arguments: ["base", "top-1", "top-3"] + otherTypes)
    func gradientsAreThoseOfTransformers(name: String) throws {
        let golden = try GoldenValues.load()
        let expected = try #require(golden.models[name])
        let tensors = try GoldenValues.tensors(of: name)
        let (tokens, targets) = GoldenValues.split(expected.tokens)
        #expect(!expected.coefficients.isEmpty)
        for coefficient in expected.coefficients {
            let model = try GoldenValues.model(name)
            let losses = try model.trainingForward(
                tokens: tokens, targets: targets, sequences: golden.sequences, sequenceLength: golden.sequenceLength,
                lossScale: 1 / Float(tokens.count))
            let auxiliary = AuxiliaryLoss.value(
                counts: losses.expertLoads, probabilitySums: losses.probabilitySums, tokens: tokens.count)
            #expect(abs(losses.lossSum / Double(tokens.count) - expected.loss) < 1e-5)
            if let expected = expected.auxiliaryLoss { #expect(abs(auxiliary - expected) < 1e-5) }
            try model.backward(
                auxiliaryProbabilityGradient: coefficient == 0
                    ? nil
                    : AuxiliaryLoss.gradient(
                        counts: losses.expertLoads, tokens: tokens.count, coefficient: coefficient))

            var worst = (name: "", difference: 0.0)
            var compared = Set<String>()
            for (parameterName, parameter) in model.namedParameters() {
                let stored = "gradient.\(coefficient).\(parameterName)"
                let (difference, largest) = compare(try tensors.read(stored), parameter.gradient)
                #expect(difference < 1e-4 * largest, "\(parameterName), auxiliary loss \(coefficient)")
                if difference / largest > worst.difference { worst = (parameterName, difference / largest) }
                compared.insert(stored)
            }
            let all = tensors.header.entries.map(\.name).filter { $0.hasPrefix("gradient.\(coefficient).") }
            #expect(compared == Set(all))
            print(
                "\(name), auxiliary loss \(coefficient): \(compared.count) gradients, at most \(worst.difference) "
                    + "of the largest entry off, in \(worst.name)")
        }
    }
}
