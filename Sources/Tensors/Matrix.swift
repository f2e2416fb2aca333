/// A tensor's memory for the inner loops of kernels: hoisted once, so that nothing is looked up and no reference counted
/// a row. Valid while the tensor lives.
struct Matrix {
    let entries: MutableEntries
    let stride: Int

    @inline(always)
    func row(_ row: Int) -> MutableEntries { entries + row &* stride }
}

extension Tensor {
    var matrix: Matrix { Matrix(entries: pointer, stride: rowStride) }

    func hasShape(_ rows: Int, _ columns: Int) -> Bool { self.rows == rows && self.columns == columns }

    func hasShape(of other: Tensor) -> Bool { rows == other.rows && columns == other.columns }
}
