import CVectors

/// A matrix as products take it: as it is, or rounded to bfloat16, in memory of its own and half of it. Rounding once serves all its
/// products.
public struct MatrixFactor {
    enum Entries {
        /// The storage is that of the tensor.
        case float32(Tensor)
        case bfloat16(UnsafePointer<UInt16>, stride: Int, Storage)
    }

    public let rows: Int
    public let columns: Int
    let entries: Entries

    private init(rows: Int, columns: Int, entries: Entries) {
        (self.rows, self.columns, self.entries) = (rows, columns, entries)
    }

    /// - Parameter matrix: must not change, in fp32, until the products are made.
    public init(_ matrix: Tensor, precision: Precision = .current) {
        let entries: Entries
        switch precision {
        case .float32: entries = .float32(matrix)
        case .bfloat16:
            let storage = Storage(count: (matrix.count + 1) / 2)
            let target = UnsafeMutableRawPointer(storage.base).bindMemory(to: UInt16.self, capacity: matrix.count)
            let source = matrix.matrix
            Threads.splitEntries(of: matrix, contiguous: matrix.isContiguous) { row, column, count in
                lanes_round_to_bfloat16(source.row(row) + column, target + row * matrix.columns + column, count)
            }
            entries = .bfloat16(UnsafePointer(target), stride: matrix.columns, storage)
        }
        self.init(rows: matrix.rows, columns: matrix.columns, entries: entries)
    }

    /// A view of some columns.
    public func columns(_ range: Range<Int>) -> MatrixFactor {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns out of range")
        let view: Entries =
            switch entries {
            case .float32(let matrix): .float32(matrix.columns(range))
            case .bfloat16(let base, let stride, let storage):
                .bfloat16(base + range.lowerBound, stride: stride, storage)
            }
        return MatrixFactor(rows: rows, columns: range.count, entries: view)
    }
}
