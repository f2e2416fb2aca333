import Foundation
import Tensors
import Testing

@Suite struct SoftmaxTests {
    private func reference(_ x: [Double], columns: Int) -> [Double] {
        stride(from: 0, to: x.count, by: columns).flatMap { start in
            let row = x[start..<start + columns]
            let exponentials = row.map { exp($0 - (row.max() ?? 0)) }
            let sum = exponentials.reduce(0, +)
            return exponentials.map { $0 / sum }
        }
    }

    @Test(arguments: Layout.allCases) func forwardAndBackward(layout: Layout) {
        let samples = Samples(seed: 31)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let x = samples.normal(rows, columns, layout, scale: 5)
            let y = samples.garbage(rows, columns, layout)
            Softmax.forward(x.tensor, into: y.tensor)
            let expected = reference(doubles(x.tensor), columns: columns)
            #expect(largestError(y.tensor, expected) < 1e-6, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(y.isFrameIntact)

            let dy = samples.normal(rows, columns, layout)
            let dx = samples.garbage(rows, columns, layout)
            Softmax.backward(y: y.tensor, outputGradient: dy.tensor, into: dx.tensor)
            let gradient = numericalGradient(at: doubles(x.tensor)) {
                dot(reference($0, columns: columns), doubles(dy.tensor))
            }
            #expect(largestError(dx.tensor, gradient) < 1e-5, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(dx.isFrameIntact)

            Softmax.backward(y: y.tensor, outputGradient: dy.tensor, into: dy.tensor)
            #expect(dy.tensor.array == dx.tensor.array)
            Softmax.forward(x.tensor, into: x.tensor)
            #expect(x.tensor.array == y.tensor.array)
        }
    }

    @Test func extremeEntries() {
        let x = Tensor([1e30, -1e30, 0, -.infinity, 5, -.infinity, .nan, 0, 1], rows: 3, columns: 3)
        let y = Tensor(rows: 3, columns: 3)
        Softmax.forward(x, into: y)
        #expect(Array(y.array[..<6]) == [1, 0, 0, 0, 1, 0])
        for column in 0..<3 { #expect(y[2, column].isNaN) }
        x[1, 1] = .infinity
        Softmax.forward(x, into: y)
        #expect(y[1, 1].isNaN)
    }
}
