/// The extents of an attention, checked, and how it is cut into tiles.
struct AttentionShape {
    let sequenceLength: Int
    /// d
    let dimension: Int
    /// Heads that share one key-value head.
    let group: Int
    /// 1 / √d
    let scale: Float
    /// Query rows of a tile: as many as were fastest, whatever the length.
    let tileRows: Int

    init(
        query: Tensor, key: Tensor, value: Tensor, sequences: Int, sequenceLength: Int, heads: Int,
        keyValueHeads: Int
    ) {
        precondition(heads > 0 && keyValueHeads > 0 && heads % keyValueHeads == 0, "heads do not form groups")
        precondition(query.columns % heads == 0, "columns are not heads of one dimension")
        dimension = query.columns / heads
        precondition(query.rows == sequences * sequenceLength, "rows are not sequences of this length")
        precondition(
            key.hasShape(query.rows, keyValueHeads * dimension) && value.hasShape(of: key),
            "keys and values do not fit the queries")
        self.sequenceLength = sequenceLength
        group = heads / keyValueHeads
        scale = 1 / Float(dimension).squareRoot()
        tileRows = Self.tileRows(sequenceLength)
    }

    static func tileRows(_ sequenceLength: Int) -> Int { min(48, max(1, sequenceLength)) }

    /// Ranges of query rows, ascending.
    var tiles: [Range<Int>] {
        stride(from: 0, to: sequenceLength, by: tileRows).map { $0..<min($0 + tileRows, sequenceLength) }
    }

    /// Work of one head of one sequence in entries of a row kernel.
    var costOfHead: Int { sequenceLength * sequenceLength * (dimension + 16) / 16 }
}

extension Matrix {
    /// The part that begins at (row, column).
    func from(_ row: Int, _ column: Int) -> Matrix {
        Matrix(entries: self.row(row) + column, stride: stride)
    }

    func factor(fromRow row: Int) -> GEMM.Factor { GEMM.Factor(self.row(row), stride: stride) }

    var transposedFactor: GEMM.Factor { GEMM.Factor(entries, stride: stride, transposed: true) }
}
