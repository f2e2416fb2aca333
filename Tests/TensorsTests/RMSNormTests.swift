import Tensors
import Testing

@Suite struct RMSNormTests {
    private static let epsilon = 1e-5

    private func reference(_ x: [Double], weight: [Double]) -> [Double] {
        let columns = weight.count
        return x.indices.map { index in
            let row = x[index / columns * columns..<(index / columns + 1) * columns]
            let meanSquare = row.reduce(0) { $0 + $1 * $1 } / Double(columns)
            return x[index] / (meanSquare + Self.epsilon).squareRoot() * weight[index % columns]
        }
    }

    @Test(arguments: Layout.allCases) func forward(layout: Layout) {
        let samples = Samples(seed: 21)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let x = samples.normal(rows, columns, layout, scale: 3)
            let weight = samples.normal(1, columns).tensor
            let y = samples.garbage(rows, columns, layout)
            let inverse = samples.garbage(rows, 1).tensor
            RMSNorm.forward(
                x.tensor, weight: weight, epsilon: Float(Self.epsilon), into: y.tensor, inverseRMS: inverse)
            let expected = reference(doubles(x.tensor), weight: doubles(weight))
            #expect(largestError(y.tensor, expected) < 1e-6, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(y.isFrameIntact)
            for row in 0..<rows where x.tensor[row, 0] != 0 && weight[0, 0] != 0 {
                #expect(abs(inverse[row, 0] * x.tensor[row, 0] * weight[0, 0] - y.tensor[row, 0]) < 1e-5)
            }
        }
    }

    /// Gradients against differences of the reference; both are added to what was there. 300 rows are several blocks.
    @Test(arguments: Layout.allCases, [1, 2, 300]) func backward(layout: Layout, rows: Int) {
        let samples = Samples(seed: 22)
        for columns in [1, 5, 16, 33, 50] where rows < 300 || columns == 5 {
            let x = samples.normal(rows, columns, layout)
            let weight = samples.normal(1, columns).tensor
            let dy = samples.normal(rows, columns, layout).tensor
            let (dx, dw) = (samples.normal(rows, columns, layout), samples.normal(1, columns))
            let (dxBefore, dwBefore) = (doubles(dx.tensor), doubles(dw.tensor))
            let inverse = Tensor(rows: rows, columns: 1)
            let y = Tensor(rows: rows, columns: columns)
            RMSNorm.forward(x.tensor, weight: weight, epsilon: Float(Self.epsilon), into: y, inverseRMS: inverse)
            RMSNorm.backward(
                x.tensor, weight: weight, inverseRMS: inverse, outputGradient: dy, inputGradient: dx.tensor,
                weightGradient: dw.tensor)
            let (xs, weights, dys) = (doubles(x.tensor), doubles(weight), doubles(dy))
            // Rows do not depend on each other, so a few of many will do.
            let some = min(rows, 3) * columns
            let inputGradient = numericalGradient(at: Array(xs[..<some])) {
                dot(reference($0, weight: weights), Array(dys[..<some]))
            }
            let weightGradient = numericalGradient(at: weights) { dot(reference(xs, weight: $0), dys) }
            #expect(
                largestError(Array(dx.tensor.array[..<some]), zip(inputGradient, dxBefore).map(+)) < 2e-5,
                "\(rows) × \(columns), seed \(samples.seed)")
            #expect(
                largestError(dw.tensor, zip(weightGradient, dwBefore).map(+)) < 2e-5,
                "\(rows) × \(columns), seed \(samples.seed)")
            #expect(dx.isFrameIntact)
        }
    }

    @Test(arguments: [Float.nan, .infinity]) func nonFiniteEntriesShow(value: Float) {
        let x = Tensor(rows: 3, columns: 40, repeating: 1)
        x[1, 35] = value
        let weight = Tensor(rows: 1, columns: 40, repeating: 1)
        let (y, inverse) = (Tensor(rows: 3, columns: 40), Tensor(rows: 3, columns: 1))
        RMSNorm.forward(x, weight: weight, epsilon: 1e-5, into: y, inverseRMS: inverse)
        #expect(Reductions.allFinite(y.rows(0..<1)) && Reductions.allFinite(y.rows(2..<3)))
        #expect(y[1, 35].isNaN)
    }
}
