import COpenBLAS

/// Matrix products (general matrix multiply) by OpenBLAS.
public enum GEMM {
    /// c = alpha·op(a)·op(b) + beta·c, where op transposes or not.
    ///
    /// Any extent may be 0; without an inner extent c = beta·c. With beta = 0 c need not be initialised. c must not
    /// overlap a or b.
    /// - Parameters:
    ///   - a: (m, k), or (k, m) when it is to be transposed.
    ///   - b: (k, n), or (n, k) when it is to be transposed.
    ///   - c: (m, n)
    public static func multiply(
        _ a: Tensor, transposeA: Bool = false, _ b: Tensor, transposeB: Bool = false, into c: Tensor,
        alpha: Float = 1, beta: Float = 0
    ) {
        let inner = transposeA ? a.rows : a.columns
        precondition(
            (transposeA ? a.columns : a.rows) == c.rows && (transposeB ? b.rows : b.columns) == c.columns
                && (transposeB ? b.columns : b.rows) == inner,
            "shapes do not fit a product")
        let left = Factor(a.pointer, stride: a.rowStride, transposed: transposeA)
        let right = Factor(b.pointer, stride: b.rowStride, transposed: transposeB)
        let (rows, columns, target, targetStride) = (c.rows, c.columns, c.pointer, c.rowStride)
        let grid = grid(rows: rows, columns: columns, inner: inner)
        // OpenBLAS keeps one thread: its own threads spin while they wait, and share one queue among the ranks of a process.
        Threads.split(grid.rows * grid.columns, cost: Threads.grain) { pieces in
            for piece in pieces {
                let (i, j) = (piece / grid.columns, piece % grid.columns)
                let rowRange = part(i, of: grid.rows, in: rows)
                let columnRange = part(j, of: grid.columns, in: columns)
                multiply(
                    left.fromRow(rowRange.lowerBound), right.fromColumn(columnRange.lowerBound),
                    rows: rowRange.count, columns: columnRange.count, inner: inner,
                    into: target + rowRange.lowerBound * targetStride + columnRange.lowerBound, stride: targetStride,
                    alpha: alpha, beta: beta)
            }
        }
    }

    /// A factor of a product: where op(matrix) begins.
    struct Factor {
        let entries: Entries
        let stride: Int
        let transposed: Bool

        init(_ entries: Entries, stride: Int, transposed: Bool = false) {
            self.entries = entries
            self.stride = stride
            self.transposed = transposed
        }

        func fromRow(_ row: Int) -> Factor {
            Factor(entries + (transposed ? row : row * stride), stride: stride, transposed: transposed)
        }

        func fromColumn(_ column: Int) -> Factor {
            Factor(entries + (transposed ? column * stride : column), stride: stride, transposed: transposed)
        }
    }

    /// The product on the caller's thread.
    static func multiply(
        _ a: Factor, _ b: Factor, rows: Int, columns: Int, inner: Int, into c: MutableEntries, stride: Int,
        alpha: Float = 1, beta: Float = 0
    ) {
        if rows == 0 || columns == 0 { return }
        if inner == 0 {
            for row in 0..<rows {
                let target = c + row * stride
                if beta == 0 {
                    target.update(repeating: 0, count: columns)
                } else {
                    writeScaled(target, by: beta, into: target, count: columns)
                }
            }
            return
        }
        _ = oneThread
        cblas_sgemm(
            CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
            blasint(rows), blasint(columns), blasint(inner), alpha, a.entries, leading(a.stride), b.entries,
            leading(b.stride), beta, c, leading(stride))
    }

    /// BLAS refuses a leading dimension of 0, which matrices without columns have, and one below the row's length, which
    /// a single row of a view may have.
    private static func leading(_ stride: Int) -> blasint { blasint(max(stride, 1)) }

    private static let oneThread: Void = openblas_set_num_threads(1)

    private static func part(_ index: Int, of count: Int, in total: Int) -> Range<Int> {
        total * index / count..<total * (index + 1) / count
    }

    /// How many parts to cut the rows and columns of a product into: as many as there are threads, as square as possible,
    /// none below some hundred thousand multiplications.
    private static func grid(rows: Int, columns: Int, inner: Int) -> (rows: Int, columns: Int) {
        let pieces = min(Threads.count, rows * columns * inner / 262_144)
        if pieces <= 1 { return (1, 1) }
        var best = (rows: 1, columns: 1)
        var bestCost = Int.max
        for rowParts in 1...pieces {
            let columnParts = pieces / rowParts
            guard rowParts <= rows, columnParts <= columns, rowParts * columnParts * 2 > pieces else { continue }
            // Entries of the factors that a thread reads.
            let cost = rows / rowParts + columns / columnParts
            if cost < bestCost { (best, bestCost) = ((rowParts, columnParts), cost) }
        }
        return best
    }
}
