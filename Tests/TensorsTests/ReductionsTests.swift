import Tensors
import Testing

@Suite struct ReductionsTests {
    /// Shapes of less than one block of entries, and of several.
    private static let shapes = [(0, 5), (1, 1), (3, 17), (2, 40_000), (300, 130)]

    @Test(arguments: Layout.allCases) func sumOfSquares(layout: Layout) {
        let samples = Samples(seed: 91)
        for (rows, columns) in Self.shapes {
            let x = samples.normal(rows, columns, layout).tensor
            let expected = doubles(x).reduce(0) { $0 + $1 * $1 }
            #expect(abs(Reductions.sumOfSquares(x) - expected) <= 1e-12 * expected, "seed \(samples.seed)")
        }
    }

    @Test func squaresBeyondTheRangeOfFloat() {
        let x = Tensor(rows: 1, columns: 20, repeating: 1e30)
        let expected = 20 * Double(Float(1e30)) * Double(Float(1e30))
        #expect(abs(Reductions.sumOfSquares(x) / expected - 1) < 1e-12)
    }

    @Test(arguments: Layout.allCases, [Float.nan, .infinity, -.infinity])
    func oneNonFiniteEntryAnywhere(layout: Layout, value: Float) {
        let samples = Samples(seed: 92)
        for (rows, columns) in Self.shapes {
            let x = samples.normal(rows, columns, layout, scale: 1e37).tensor
            #expect(Reductions.allFinite(x))
            for index in samples.integers(20, below: max(1, rows * columns)) where rows > 0 {
                let (row, column) = (Int(index) / columns, Int(index) % columns)
                let before = x[row, column]
                x[row, column] = value
                #expect(!Reductions.allFinite(x), "(\(row), \(column)), seed \(samples.seed)")
                #expect(!Reductions.sumOfSquares(x).isFinite)
                x[row, column] = before
            }
        }
    }
}
