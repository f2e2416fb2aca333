import Foundation
import Tensors
import Testing

@Suite struct CrossEntropyTests {
    private func reference(_ logits: [Double], targets: [Int32], columns: Int) -> Double {
        targets.indices.reduce(0) { sum, row in
            let entries = logits[row * columns..<(row + 1) * columns]
            let largest = entries.max() ?? 0
            let logSum = log(entries.reduce(0) { $0 + exp($1 - largest) }) + largest
            return sum + logSum - logits[row * columns + Int(targets[row])]
        }
    }

    @Test(arguments: Layout.allCases) func lossAndGradient(layout: Layout) {
        let samples = Samples(seed: 71)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let logits = samples.normal(rows, columns, layout, scale: 4)
            let targets = samples.integers(rows, below: columns)
            let values = doubles(logits.tensor)
            let expected = reference(values, targets: targets, columns: columns)
            let loss = CrossEntropy.forward(logits: logits.tensor, targets: targets)
            #expect(doubles(logits.tensor) == values)
            #expect(abs(loss - expected) <= 2e-6 * max(1, expected), "\(rows) × \(columns), seed \(samples.seed)")

            let gradient = numericalGradient(at: values) {
                0.25 * reference($0, targets: targets, columns: columns)
            }
            let sameLoss = CrossEntropy.forwardBackward(
                logits: logits.tensor, targets: targets, gradientScale: 0.25)
            #expect(abs(sameLoss - loss) <= 1e-6 * max(1, loss))
            #expect(largestError(logits.tensor, gradient) < 1e-6, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(logits.isFrameIntact)
        }
    }

    @Test func extremeLogits() {
        let logits = Tensor([1e6, -1e6, 0, 0, 5, -.infinity], rows: 2, columns: 3)
        #expect(CrossEntropy.forward(logits: logits, targets: [1, 0]) > 1.999e6)
        #expect(CrossEntropy.forward(logits: logits.rows(0..<1), targets: [0]) == 0)
        #expect(CrossEntropy.forward(logits: logits.rows(1..<2), targets: [2]) == .infinity)
        logits[0, 2] = .nan
        #expect(CrossEntropy.forward(logits: logits, targets: [0, 0]).isNaN)
        #expect(CrossEntropy.forwardBackward(logits: logits, targets: [0, 0], gradientScale: 1).isNaN)
        #expect(logits[0, 0].isNaN)
    }
}
