extension Tensor {
    /// Copies the transpose of `source`: entry (i, j) becomes `source`'s (j, i).
    public func copyTransposed(from source: Tensor) {
        precondition(rows == source.columns && columns == source.rows, "shapes differ")
        let (to, from) = (pointer, source.pointer)
        let (toStride, fromStride) = (rowStride, source.rowStride)
        let tile = 16  // Both tiles stay in the first-level cache.
        for rowStart in stride(from: 0, to: rows, by: tile) {
            for columnStart in stride(from: 0, to: columns, by: tile) {
                for row in rowStart..<min(rowStart + tile, rows) {
                    for column in columnStart..<min(columnStart + tile, columns) {
                        to[row * toStride + column] = from[column * fromStride + row]
                    }
                }
            }
        }
    }
}
