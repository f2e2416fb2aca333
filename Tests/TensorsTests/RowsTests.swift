import Tensors
import Testing

@Suite struct RowsTests {
    @Test(arguments: Layout.allCases) func gather(layout: Layout) {
        let samples = Samples(seed: 81)
        withEvery([0, 1, 9], interestingColumns) { count, columns in
            let source = samples.normal(4, columns, layout).tensor
            let indices = samples.integers(count, below: 4)
            let result = samples.garbage(count, columns, layout)
            Rows.gather(source, indices: indices, into: result.tensor)
            for (row, index) in indices.enumerated() {
                #expect(
                    result.tensor.rows(row..<row + 1).array == source.rows(Int(index)..<Int(index) + 1).array,
                    "seed \(samples.seed)")
            }
            #expect(result.isFrameIntact)
        }
    }

    @Test(arguments: Layout.allCases) func scale(layout: Layout) {
        let samples = Samples(seed: 82)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let x = samples.normal(rows, columns, layout)
            let factors = samples.normal(1, rows).tensor.array
            let y = samples.garbage(rows, columns, layout)
            Rows.scale(x.tensor, by: factors, into: y.tensor)
            let expected = x.tensor.array.enumerated().map { Double($1 * factors[$0 / columns]) }
            #expect(largestError(y.tensor, expected) == 0, "seed \(samples.seed)")
            Rows.scale(x.tensor, by: factors, into: x.tensor)
            #expect(x.tensor.array == y.tensor.array && x.isFrameIntact && y.isFrameIntact)
        }
    }

    @Test(arguments: Layout.allCases, [false, true]) func scatterAdd(layout: Layout, scaled: Bool) {
        let samples = Samples(seed: 83)
        withEvery([0, 1, 9], interestingColumns) { count, columns in
            let rows = samples.normal(count, columns, layout).tensor
            let indices = samples.integers(count, below: 3)
            let scales = scaled ? samples.normal(1, count).tensor.array : nil
            let result = samples.normal(3, columns, layout)
            var expected = doubles(result.tensor)
            for row in 0..<count {
                for column in 0..<columns {
                    expected[Int(indices[row]) * columns + column] +=
                        Double(rows[row, column]) * Double(scales?[row] ?? 1)
                }
            }
            Rows.scatterAdd(rows, indices: indices, scales: scales, into: result.tensor)
            #expect(largestError(result.tensor, expected) < 1e-6, "seed \(samples.seed)")
            #expect(result.isFrameIntact)
        }
    }

    @Test(arguments: Layout.allCases) func vectors(layout: Layout) {
        let samples = Samples(seed: 85)
        withEvery([0, 1, 9, 300], interestingColumns) { rows, columns in
            let (x, vector) = (samples.normal(rows, columns, layout), samples.normal(1, columns, layout))
            let values = doubles(x.tensor)
            var sums = doubles(vector.tensor)
            for (index, value) in values.enumerated() { sums[index % columns] += value }
            Rows.addSum(of: x.tensor, into: vector.tensor)
            #expect(largestError(vector.tensor, sums) < 3e-6, "seed \(samples.seed)")
            let sum = vector.tensor.array
            let expected = values.enumerated().map { $1 + Double(sum[$0 % columns]) }
            Rows.addVector(vector.tensor, to: x.tensor)
            #expect(largestError(x.tensor, expected) < 2e-7, "seed \(samples.seed)")
            #expect(x.isFrameIntact && vector.isFrameIntact)
        }
    }

    @Test(arguments: Layout.allCases) func addAndDots(layout: Layout) {
        let samples = Samples(seed: 84)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let (a, b) = (samples.normal(rows, columns, layout), samples.normal(rows, columns, layout))
            let (left, right) = (doubles(a.tensor), doubles(b.tensor))
            let dots = (0..<rows).map { row in
                let range = row * columns..<(row + 1) * columns
                return dot(Array(left[range]), Array(right[range]))
            }
            #expect(largestError(Rows.dots(a.tensor, b.tensor), dots) < 2e-6, "seed \(samples.seed)")
            Rows.add(a.tensor, into: b.tensor)
            #expect(largestError(b.tensor, zip(left, right).map(+)) < 1e-7 * 2, "seed \(samples.seed)")
            #expect(b.isFrameIntact)
        }
    }
}
