import Tensors

/// Some rows of a named tensor, of which other ranks have the others.
public struct TensorShard {
    /// Columns of a matrix whose entries are the rows, (n, 1).
    public struct Columns: Hashable, Sendable {
        public let range: Range<Int>
        /// Columns of the whole matrix.
        public let total: Int

        public init(range: Range<Int>, total: Int) {
            self.range = range
            self.total = total
        }
    }

    public let name: String
    /// Which rows.
    public let rows: Range<Int>
    /// Rows of the whole tensor.
    public let totalRows: Int
    /// Nil: all. Otherwise `rows` counts the entries of these columns alone.
    public let columns: Columns?
    /// (rows, columns). Shares its memory with whoever it is of.
    public let values: Tensor

    public init(name: String, rows: Range<Int>, totalRows: Int, columns: Columns? = nil, values: Tensor) {
        precondition(values.rows == rows.count && rows.upperBound <= totalRows, "rows do not fit the tensor")
        self.name = name
        self.rows = rows
        self.totalRows = totalRows
        self.columns = columns
        self.values = values
    }
}
