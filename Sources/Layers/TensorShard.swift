import Tensors

/// Some rows of a named tensor, of which other ranks have the others.
public struct TensorShard {
    public let name: String
    /// Which rows.
    public let rows: Range<Int>
    /// Rows of the whole tensor.
    public let totalRows: Int
    /// (rows, columns). Shares its memory with whoever it is of.
    public let values: Tensor

    public init(name: String, rows: Range<Int>, totalRows: Int, values: Tensor) {
        precondition(values.rows == rows.count && rows.upperBound <= totalRows, "rows do not fit the tensor")
        self.name = name
        self.rows = rows
        self.totalRows = totalRows
        self.values = values
    }
}
