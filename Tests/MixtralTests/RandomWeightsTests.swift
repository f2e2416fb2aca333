import Layers
import Mixtral
import Tensors
import Testing

@Suite struct RandomWeightsTests {
    private let weights = RandomWeights(seed: 11, standardDeviation: 0.5)

    private func whole(_ name: String, rows: Int, columns: Int, of weights: RandomWeights? = nil) throws -> Tensor {
        let result = Tensor(rows: rows, columns: columns)
        try (weights ?? self.weights).load(
            name, shape: [rows, columns], rows: 0..<rows, columns: 0..<columns, into: result)
        return result
    }

    /// Odd widths put a row's beginning in the middle of a pair of the generator.
    @Test(arguments: [(4, 6), (5, 7), (3, 1)])
    func aBlockIsThePartOfTheWhole(rows: Int, columns: Int) throws {
        let whole = try whole("matrix", rows: rows, columns: columns)
        for firstRow in 0..<rows {
            for endRow in firstRow...rows {
                for firstColumn in 0..<columns {
                    for endColumn in firstColumn...columns {
                        let (blockRows, blockColumns) = (firstRow..<endRow, firstColumn..<endColumn)
                        let block = Tensor(rows: blockRows.count, columns: columns + 1).columns(0..<blockColumns.count)
                        try weights.load(
                            "matrix", shape: [rows, columns], rows: blockRows, columns: blockColumns, into: block)
                        #expect(block.array == whole.rows(blockRows).columns(blockColumns).array)
                    }
                }
            }
        }
    }

    @Test func entriesAreNormal() throws {
        let values = try whole("matrix", rows: 200, columns: 501).array.map(Double.init)
        let count = Double(values.count)
        // Six standard errors: σ/√n for the mean, √(2/n) for the relative variance.
        #expect(abs(values.reduce(0, +) / count) < 6 * 0.5 / count.squareRoot())
        #expect(abs(values.reduce(0) { $0 + $1 * $1 } / count / 0.25 - 1) < 6 * (2 / count).squareRoot())
        #expect(Set(values).count > values.count * 99 / 100)
    }

    @Test func seedAndNameMakeTheDifference() throws {
        let values = try whole("a", rows: 3, columns: 3).array
        #expect(try whole("a", rows: 3, columns: 3).array == values)
        #expect(try whole("b", rows: 3, columns: 3).array != values)
        let other = RandomWeights(seed: 12, standardDeviation: 0.5)
        #expect(try whole("a", rows: 3, columns: 3, of: other).array != values)
    }

    /// In the embedding and nowhere else, and whichever block of it is asked for.
    @Test func thePaddingTokensRowIsZero() throws {
        let padded = RandomWeights(seed: 11, standardDeviation: 0.5, paddingToken: 2)
        let name = "model.embed_tokens.weight"
        var expected = try whole(name, rows: 4, columns: 3).array
        expected.replaceSubrange(6..<9, with: [0, 0, 0])
        let table = try whole(name, rows: 4, columns: 3, of: padded)
        #expect(table.array == expected)
        for rows in [0..<2, 2..<3, 1..<4] {
            let block = Tensor(rows: rows.count, columns: 2)
            try padded.load(name, shape: [4, 3], rows: rows, columns: 1..<3, into: block)
            #expect(block.array == table.rows(rows).columns(1..<3).array)
        }
        let head = try whole("lm_head.weight", rows: 4, columns: 3).array
        #expect(try whole("lm_head.weight", rows: 4, columns: 3, of: padded).array == head)
    }

    @Test func normsAreOne() throws {
        let norm = Tensor(rows: 1, columns: 5)
        try weights.load("norm", shape: [5], rows: 0..<1, columns: 0..<5, into: norm)
        #expect(norm.array == [1, 1, 1, 1, 1])
    }
}
