import COpenBLAS

/// Matrix products (general matrix multiply) by oneDNN where it is installed, and OpenBLAS.
public enum GEMM {
    /// c = alpha·op(a)·op(b) + beta·c, where op transposes or not.
    ///
    /// Any extent may be 0; without an inner extent c = beta·c. With beta = 0 c need not be initialised. c must not
    /// overlap a or b.
    /// - Parameters:
    ///   - a: (m, k), or (k, m) when it is to be transposed.
    ///   - b: (k, n), or (n, k) when it is to be transposed.
    ///   - c: (m, n)
    ///   - precision: what a and b are rounded to.
    public static func multiply(
        _ a: Tensor, transposeA: Bool = false, _ b: Tensor, transposeB: Bool = false, into c: Tensor,
        alpha: Float = 1, beta: Float = 0, precision: Precision = .current
    ) {
        multiply(
            MatrixFactor(a, precision: precision), transposeA: transposeA, MatrixFactor(b, precision: precision),
            transposeB: transposeB, into: c, alpha: alpha, beta: beta)
    }

    /// As above, with factors that were rounded before, both or none.
    public static func multiply(
        _ a: MatrixFactor, transposeA: Bool = false, _ b: MatrixFactor, transposeB: Bool = false, into c: Tensor,
        alpha: Float = 1, beta: Float = 0
    ) {
        let inner = transposeA ? a.rows : a.columns
        let (rows, columns, target, stride) = (c.rows, c.columns, c.pointer, c.rowStride)
        precondition(
            (transposeA ? a.columns : a.rows) == rows && (transposeB ? b.rows : b.columns) == columns
                && (transposeB ? b.columns : b.rows) == inner,
            "shapes do not fit a product")
        let grid = grid(rows: rows, columns: columns, inner: inner)
        func eachBlock<Entry>(
            _ a: Operand<Entry>, _ b: Operand<Entry>,
            _ multiply: (Operand<Entry>, Operand<Entry>, _ rows: Int, _ columns: Int, MutableEntries) -> Void
        ) {
            split(grid, rows: rows, columns: columns) { rows, columns in
                multiply(
                    a.fromRow(rows.lowerBound), b.fromColumn(columns.lowerBound), rows.count, columns.count,
                    target + rows.lowerBound * stride + columns.lowerBound)
            }
        }
        switch (a.entries, b.entries) {
        case (.float32(let a), .float32(let b)):
            eachBlock(
                Factor(a.pointer, stride: a.rowStride, transposed: transposeA),
                Factor(b.pointer, stride: b.rowStride, transposed: transposeB)
            ) { a, b, rows, columns, target in
                multiply(
                    a, b, rows: rows, columns: columns, inner: inner, into: target, stride: stride, alpha: alpha,
                    beta: beta)
            }
        case (.bfloat16(let a, let strideA, let storageA), .bfloat16(let b, let strideB, let storageB)):
            if rows == 0 || columns == 0 { return }
            guard inner > 0 else { return scale(rows: rows, columns: columns, target, stride: stride, by: beta) }
            guard let gemm = OneDNN.shared?.bfloat16GEMM else { preconditionFailure("bfloat16 is not available") }
            withExtendedLifetime((storageA, storageB)) {
                eachBlock(
                    Operand(a, stride: strideA, transposed: transposeA),
                    Operand(b, stride: strideB, transposed: transposeB)
                ) { a, b, rows, columns, target in
                    let status = gemm(
                        OneDNN.letter(a.transposed), OneDNN.letter(b.transposed), rows, columns, inner, alpha,
                        a.entries, a.stride, b.entries, b.stride, beta, target, stride)
                    precondition(status == 0, "oneDNN refused a product")
                }
            }
        default: preconditionFailure("one factor is rounded, and one is not")
        }
    }

    /// Calls `body` for the blocks of a product, on as many threads.
    ///
    /// The libraries keep one thread: their own spin while they wait, and share one queue among the ranks of a process.
    private static func split(
        _ grid: (rows: Int, columns: Int), rows: Int, columns: Int, _ body: (Range<Int>, Range<Int>) -> Void
    ) {
        Threads.split(grid.rows * grid.columns, cost: Threads.grain) { pieces in
            for piece in pieces {
                body(
                    part(piece / grid.columns, of: grid.rows, in: rows),
                    part(piece % grid.columns, of: grid.columns, in: columns))
            }
        }
    }

    /// A factor of a product: where op(matrix) begins.
    struct Operand<Entry> {
        let entries: UnsafePointer<Entry>
        let stride: Int
        let transposed: Bool

        init(_ entries: UnsafePointer<Entry>, stride: Int, transposed: Bool = false) {
            self.entries = entries
            self.stride = stride
            self.transposed = transposed
        }

        func fromRow(_ row: Int) -> Operand {
            Operand(entries + (transposed ? row : row * stride), stride: stride, transposed: transposed)
        }

        func fromColumn(_ column: Int) -> Operand {
            Operand(entries + (transposed ? column * stride : column), stride: stride, transposed: transposed)
        }
    }
    typealias Factor = Operand<Float>

    /// The product on the caller's thread.
    static func multiply(
        _ a: Factor, _ b: Factor, rows: Int, columns: Int, inner: Int, into c: MutableEntries, stride: Int,
        alpha: Float = 1, beta: Float = 0
    ) {
        if rows == 0 || columns == 0 { return }
        if inner == 0 { return scale(rows: rows, columns: columns, c, stride: stride, by: beta) }
        if OneDNN.suits(a, b, rows: rows, columns: columns, inner: inner), let oneDNN = OneDNN.shared {
            let atOnce = OneDNN.rowsAtOnce(b, rows: rows, columns: columns, inner: inner)
            if atOnce < rows {
                for row in Swift.stride(from: 0, to: rows, by: atOnce) {
                    multiply(
                        a.fromRow(row), b, rows: min(atOnce, rows - row), columns: columns, inner: inner,
                        into: c + row * stride, stride: stride, alpha: alpha, beta: beta)
                }
                return
            }
            let status = oneDNN.sgemm(
                OneDNN.letter(a.transposed), OneDNN.letter(b.transposed), rows, columns, inner, alpha, a.entries,
                max(a.stride, 1), b.entries, max(b.stride, 1), beta, c, max(stride, 1))
            if status == 0 { return }
        }
        _ = oneThread
        cblas_sgemm(
            CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
            blasint(rows), blasint(columns), blasint(inner), alpha, a.entries, leading(a.stride), b.entries,
            leading(b.stride), beta, c, leading(stride))
    }

    /// c = beta·c, which need not be initialised when beta is 0.
    private static func scale(rows: Int, columns: Int, _ c: MutableEntries, stride: Int, by beta: Float) {
        for row in 0..<rows {
            let target = c + row * stride
            if beta == 0 {
                target.update(repeating: 0, count: columns)
            } else {
                writeScaled(target, by: beta, into: target, count: columns)
            }
        }
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
