import CVectors

extension Tensor {
    /// Copies the transpose of `source`: entry (i, j) becomes `source`'s (j, i).
    public func copyTransposed(from source: Tensor) {
        precondition(rows == source.columns && columns == source.rows, "shapes differ")
        matrix.copyTransposed(from: source.matrix, rows: source.rows, columns: source.columns)
    }
}

extension Matrix {
    /// Writes the transpose of `rows` × `columns` entries of `source`.
    func copyTransposed(from source: Matrix, rows: Int, columns: Int) {
        let (wholeRows, wholeColumns) = (rows / 16 * 16, columns / 16 * 16)
        for row in Swift.stride(from: 0, to: wholeRows, by: 16) {
            for column in Swift.stride(from: 0, to: wholeColumns, by: 16) {
                lanes_transpose(source.row(row) + column, source.stride, self.row(column) + row, self.stride)
            }
        }
        copyTransposedEntries(from: source, rows: wholeRows..<rows, columns: 0..<columns)
        copyTransposedEntries(from: source, rows: 0..<wholeRows, columns: wholeColumns..<columns)
    }

    /// The same one by one, for edges.
    private func copyTransposedEntries(from source: Matrix, rows: Range<Int>, columns: Range<Int>) {
        for column in columns {
            let target = row(column)
            for row in rows { target[row] = source.row(row)[column] }
        }
    }
}
