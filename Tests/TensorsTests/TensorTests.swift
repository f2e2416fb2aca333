import Tensors
import Testing

@Suite struct TensorTests {
    private let counting = Tensor((0..<20).map(Float.init), rows: 4, columns: 5)

    @Test func viewsShareTheirEntries() {
        let view = counting.rows(1..<3).columns(2..<4)
        #expect(view.array == [7, 8, 12, 13])
        #expect(view.rowStride == 5 && !view.isContiguous && view.count == 4)
        view[1, 1] = -1
        #expect(counting[2, 3] == -1)
        counting[1, 2] = -2
        #expect(view[0, 0] == -2)
    }

    @Test func emptyViews() {
        #expect(counting.rows(2..<2).count == 0)
        #expect(counting.rows(4..<4).array.isEmpty)
        #expect(counting.columns(5..<5).array.isEmpty)
        #expect(Tensor(rows: 0, columns: 3).array.isEmpty)
    }

    /// Rows of these lengths do not begin in the same set of a cache of 64 lines in each of its ways, as a power of two would have them.
    @Test func spreadRowsShareFewSets() {
        for columns in [1, 48, 64, 100, 128, 256, 384, 448, 768, 1_024, 3_072] {
            let matrix = Tensor(rows: 64, spreadColumns: columns)
            #expect(matrix.rows == 64 && matrix.columns == columns && matrix.rowStride == Tensor.spreadStride(columns))
            #expect((columns..<columns + 17).contains(matrix.rowStride))
            let sets = Set((0..<64).map { $0 * matrix.rowStride / 16 % 64 })
            #expect(sets.count >= min(32, (64 * columns + 15) / 16), "\(columns)")
        }
        #expect(Tensor(rows: 3, spreadColumns: 0).array.isEmpty)
    }

    @Test func fillAndCopyStayWithinAView() {
        let samples = Samples(seed: 1)
        withEvery([0, 1, 3], [1, 4, 17]) { rows, columns in
            let (source, target) = (samples.normal(rows, columns, .strided), samples.garbage(rows, columns, .strided))
            target.tensor.copy(from: source.tensor)
            #expect(target.tensor.array == source.tensor.array && target.isFrameIntact)
            target.tensor.fill(3)
            #expect(target.tensor.array.allSatisfy { $0 == 3 } && target.isFrameIntact)
        }
    }

    @Test func reshapedEntriesAreTheSame() {
        let reshaped = counting.reshaped(rows: 2, columns: 10)
        #expect(reshaped.array == counting.array)
        reshaped[1, 0] = 50
        #expect(counting[2, 0] == 50)
    }

    @Test func spansReadAndWriteTheEntries() {
        var span = counting.mutableSpan
        span[7] = 70
        #expect(counting[1, 2] == 70)
        #expect(counting.span[19] == 19)
    }

    @Test(arguments: Layout.allCases) func transpose(layout: Layout) {
        let samples = Samples(seed: 2)
        withEvery([0, 1, 5, 16, 33], [1, 7, 16, 40]) { rows, columns in
            let source = samples.normal(rows, columns, layout).tensor
            let target = samples.garbage(columns, rows, layout)
            target.tensor.copyTransposed(from: source)
            for row in 0..<rows {
                for column in 0..<columns { #expect(target.tensor[column, row] == source[row, column]) }
            }
            #expect(target.isFrameIntact)
        }
    }
}
