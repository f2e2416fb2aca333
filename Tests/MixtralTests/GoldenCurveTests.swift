import Layers
import Mixtral
import Tensors
import Testing

/// Ten steps of training in one process against transformers with `torch.optim.AdamW`.
@Suite struct GoldenCurveTests {
    @Test(arguments: 0..<4)
    func lossCurveIsThatOfPyTorch(index: Int) throws {
        let golden = try GoldenValues.load()
        let curve = golden.curves[index]
        let model = try GoldenValues.model("base")
        let parameters = model.namedParameters().map(\.parameter)
        func zeros() -> [Tensor] {
            parameters.map { Tensor(rows: $0.rows, columns: $0.columns, repeating: 0) }
        }
        let (firstMoments, secondMoments) = (zeros(), zeros())
        var worst = (loss: 0.0, auxiliaryLoss: 0.0, gradientNorm: 0.0)

        for (step, batch) in golden.batches.enumerated() {
            let (tokens, targets) = GoldenValues.split(batch)
            for parameter in parameters { parameter.gradient.fill(0) }
            let losses = try model.trainingForward(
                tokens: tokens, targets: targets, sequences: golden.sequences, sequenceLength: golden.sequenceLength,
                lossScale: 1 / Float(tokens.count))
            let auxiliary = AuxiliaryLoss.value(
                counts: losses.expertLoads, probabilitySums: losses.probabilitySums, tokens: tokens.count)
            try model.backward(
                auxiliaryProbabilityGradient: curve.coefficient == 0
                    ? nil
                    : AuxiliaryLoss.gradient(
                        counts: losses.expertLoads, tokens: tokens.count, coefficient: curve.coefficient))
            let norm = parameters.reduce(0) { $0 + Reductions.sumOfSquares($1.gradient) }.squareRoot()
            // A number that is none would be lost among the worst.
            try #require(losses.lossSum.isFinite && auxiliary.isFinite && norm.isFinite)
            worst.loss = max(worst.loss, abs(losses.lossSum / Double(tokens.count) - curve.loss[step]))
            worst.auxiliaryLoss = max(worst.auxiliaryLoss, abs(auxiliary - curve.auxiliaryLoss[step]))
            worst.gradientNorm = max(worst.gradientNorm, abs(norm / curve.gradientNorm[step] - 1))

            // As torch.nn.utils.clip_grad_norm_ has it.
            let scale = curve.clip.map { min(1, $0 / (norm + 1e-6)) } ?? 1
            for (index, parameter) in parameters.enumerated() {
                AdamW.update(
                    value: parameter.value, gradient: parameter.gradient, firstMoment: firstMoments[index],
                    secondMoment: secondMoments[index], step: step + 1,
                    configuration: golden.optimizer.configuration(decays: parameter.decays),
                    gradientScale: Float(scale))
            }
        }
        print("auxiliary loss \(curve.coefficient), clipping \(curve.clip ?? .infinity): differences at most \(worst)")
        #expect(curve.loss.count == 10 && golden.batches.count == 10)
        #expect(worst.loss < 1e-4)
        #expect(worst.auxiliaryLoss < 1e-4)
        #expect(worst.gradientNorm < 1e-4)
    }
}

extension GoldenValues.Optimizer {
    fileprivate func configuration(decays: Bool) -> AdamW.Configuration {
        AdamW.Configuration(
            learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
            weightDecay: decays ? weightDecay : 0)
    }
}
