import Foundation
import Tensors
import Testing

@Suite struct AdamWTests {
    private static let configuration = AdamW.Configuration(
        learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1)

    /// Weights after each of three steps of `torch.optim.AdamW` (PyTorch 2) with this configuration.
    @Test func weightsAreThoseOfPyTorch() {
        let gradients: [[Float]] = [
            [0.5, -1, 0, 2, 1e-4, -3], [0.25, 1, 0.1, -2, 1e-4, -3], [-0.5, 0.5, 0, 0, -1e-4, 1],
        ]
        let expected = [
            [0.989_000_022, -1.988_000_04, 0.499_500_006, -0.010_000_000_7, 2.987_000_94, -0.239_749_998],
            [0.978_676_558, -1.986_538_41, 0.491_575_927, -0.009_463_685_56, 2.974_015_00, -0.229_510_248],
            [0.976_590_097, -1.987_070_08, 0.485_332_072, -0.009_046_453_05, 2.968_421_22, -0.223_212_168],
        ]
        let value = Tensor([1, -2, 0.5, 0, 3, -0.25], rows: 2, columns: 3)
        let (m, v) = (Tensor(rows: 2, columns: 3, repeating: 0), Tensor(rows: 2, columns: 3, repeating: 0))
        for step in 1...3 {
            AdamW.update(
                value: value, gradient: Tensor(gradients[step - 1], rows: 2, columns: 3), firstMoment: m,
                secondMoment: v, step: step, configuration: Self.configuration)
            for (a, e) in zip(value.array, expected[step - 1]) { #expect(abs(Double(a) - e) < 2e-7 * max(1, abs(e))) }
        }
    }

    @Test(arguments: Layout.allCases) func tenStepsAgreeWithTheFormula(layout: Layout) {
        let samples = Samples(seed: 111)
        let configuration = Self.configuration
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let value = samples.normal(rows, columns, layout)
            let (m, v) = (
                samples.normal(rows, columns, layout, scale: 0), samples.normal(rows, columns, layout, scale: 0)
            )
            var weights = doubles(value.tensor)
            var first = [Double](repeating: 0, count: weights.count)
            var second = first
            for step in 1...10 {
                let gradient = samples.normal(rows, columns, layout)
                AdamW.update(
                    value: value.tensor, gradient: gradient.tensor, firstMoment: m.tensor, secondMoment: v.tensor,
                    step: step, configuration: configuration, gradientScale: 0.5)
                for (index, entry) in doubles(gradient.tensor).enumerated() {
                    let g = 0.5 * entry
                    first[index] = 0.9 * first[index] + 0.1 * g
                    second[index] = 0.99 * second[index] + 0.01 * g * g
                    let corrected = first[index] / (1 - pow(0.9, Double(step)))
                    let root = (second[index] / (1 - pow(0.99, Double(step)))).squareRoot()
                    weights[index] -= 0.01 * (0.1 * weights[index] + corrected / (root + 1e-8))
                }
                #expect(gradient.isFrameIntact)
            }
            #expect(largestError(value.tensor, weights) < 2e-6, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(largestError(m.tensor, first) < 1e-6 && largestError(v.tensor, second) < 1e-6)
            #expect(value.isFrameIntact && m.isFrameIntact && v.isFrameIntact)
        }
    }

    /// Without gradients moments shrink to 0 and are never subnormal, and have the same bits wherever an entry lies.
    @Test func momentsShrinkToZero() {
        let (rows, columns) = (2, 40)
        let gradient = Tensor(rows: rows, columns: columns, repeating: 0)
        let weights = Tensor(rows: rows, columns: columns, repeating: 1)
        let firsts = (0..<rows * columns).map { Float($0 % 2 == 0 ? 3e-37 : -3e-37) }
        let m = Tensor(firsts, rows: rows, columns: columns)
        let v = Tensor(rows: rows, columns: columns, repeating: 2e-38)
        for step in 1...100 {
            AdamW.update(
                value: weights, gradient: gradient, firstMoment: m, secondMoment: v, step: step,
                configuration: Self.configuration)
            let (first, second) = (m.array, v.array)
            #expect(!(first + second).contains { $0.isSubnormal }, "step \(step)")
            #expect(Set(first.map(\.magnitude)).count == 1 && Set(second).count == 1, "step \(step)")
        }
        #expect(m.array.allSatisfy { $0 == 0 } && v.array.allSatisfy { $0 == 0 })
        #expect(weights.array.allSatisfy { $0.isFinite && $0 > 0 })
    }

    /// Where a squared gradient is too small for a moment, the other moment is not divided by a tiny epsilon.
    @Test func tinyGradientsChangeNothing() {
        var configuration = Self.configuration
        (configuration.epsilon, configuration.weightDecay) = (1e-30, 0)
        let weights = Tensor(rows: 1, columns: 20, repeating: 1)
        let (m, v) = (Tensor(rows: 1, columns: 20, repeating: 0), Tensor(rows: 1, columns: 20, repeating: 0))
        for step in 1...3 {
            AdamW.update(
                value: weights, gradient: Tensor(rows: 1, columns: 20, repeating: step == 1 ? 1e-19 : 0),
                firstMoment: m, secondMoment: v, step: step, configuration: configuration)
            #expect(weights.array.allSatisfy { $0 == 1 } && (m.array + v.array).allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: [Float.nan, .infinity]) func nonFiniteGradientsShow(value: Float) {
        let gradient = Tensor(rows: 1, columns: 20, repeating: 1)
        gradient[0, 3] = value
        let weights = Tensor(rows: 1, columns: 20, repeating: 1)
        let (m, v) = (Tensor(rows: 1, columns: 20, repeating: 0), Tensor(rows: 1, columns: 20, repeating: 0))
        AdamW.update(
            value: weights, gradient: gradient, firstMoment: m, secondMoment: v, step: 1,
            configuration: Self.configuration)
        for column in 0..<20 { #expect(weights[0, column].isNaN == (column == 3)) }
    }
}
