/// The products of causal attention: for one head, of a tile, queries that follow each other, with the keys up to the last of them. They are
/// too small for a BLAS, whose calls and copies take longer than the multiplications. One of the three matrices is lower triangular,
/// and next to nothing above its diagonal is computed.
enum CausalProduct {
    /// Rows that are computed together: with 16 columns their sums take 12 of AVX2's 16 registers.
    private static let height = 6

    /// Up to so many entries to the right of the diagonal are read where the triangle is a factor, and must be zero. (Zero times infinity is
    /// not: a value that is not finite shows up to so many tokens early.)
    private static let overhang = height - 1

    /// Clears what is read to the right of a row's diagonal, of `count` entries that there are.
    @inline(always)
    static func clearOverhang(_ entries: MutableEntries, count: Int) {
        entries.update(repeating: 0, count: min(count, overhang))
    }

    /// Which matrix is a triangle, of queries as rows and keys as columns.
    enum Triangle {
        /// c. Above the diagonal its entries become anything, up to a multiple of 16 columns, or stay.
        case result
        /// a
        case left
        /// a, transposed: rows of c are keys, and queries are summed over.
        case transposedLeft
    }

    /// c = alpha·a·b + beta·c, which is not read when beta is 0.
    /// - Parameters:
    ///   - a: (rows, inner), once it is transposed where it is to be.
    ///   - b: (inner, columns)
    ///   - c: (rows, columns); a triangle's rows have room for a multiple of 16 columns.
    ///   - first: which key the tile's first query is the same token as.
    static func multiply(
        _ a: GEMM.Factor, _ b: Panels, rows: Int, columns: Int, into c: Matrix, alpha: Float = 1, beta: Float = 0,
        triangle: Triangle, first: Int
    ) {
        let rowStride = a.transposed ? 1 : a.stride
        let innerStride = a.transposed ? a.stride : 1
        for column in stride(from: 0, to: columns, by: Panels.width) {
            let panel = Entries(b.panel(column / Panels.width))
            var width = min(Panels.width, columns &- column)
            var (row, start, end) = (0, 0, b.rows)
            if triangle == .result {
                width = Panels.width
                // Queries before these keys see none of them.
                row = max(0, column &- first) / height &* height
            }
            while row < rows {
                switch triangle {
                case .result: break
                case .left: end = min(b.rows, first &+ min(row &+ height, rows))
                case .transposedLeft: start = max(0, row &- first)
                }
                multiply(
                    a.entries + row &* rowStride + start &* innerStride, rowStride: rowStride, innerStride: innerStride,
                    rows: min(height, rows &- row), panel + start &* Panels.width, inner: end &- start,
                    into: c.row(row) + column, stride: c.stride, width: width, alpha: alpha, beta: beta)
                row &+= height
            }
        }
    }

    /// The same for up to `height` rows and one panel, of which c has `width` columns.
    @inline(always)
    private static func multiply(
        _ a: Entries, rowStride: Int, innerStride: Int, rows: Int, _ panel: Entries, inner: Int,
        into c: MutableEntries, stride: Int, width: Int, alpha: Float, beta: Float
    ) {
        // Rows that are not there are the last one once more, and are not stored.
        let last = rows &- 1
        let (a0, a1, a2) = (a, a + min(1, last) &* rowStride, a + min(2, last) &* rowStride)
        let (a3, a4, a5) = (
            a + min(3, last) &* rowStride, a + min(4, last) &* rowStride, a + min(5, last) &* rowStride
        )
        var (s0, s1, s2, s3, s4, s5) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (entries, at, left) = (panel, 0, inner)
        while left > 0 {
            let lanes = Lanes(entries)
            s0 = multiplyAdd(Lanes(repeating: a0[at]), lanes, s0)
            s1 = multiplyAdd(Lanes(repeating: a1[at]), lanes, s1)
            s2 = multiplyAdd(Lanes(repeating: a2[at]), lanes, s2)
            s3 = multiplyAdd(Lanes(repeating: a3[at]), lanes, s3)
            s4 = multiplyAdd(Lanes(repeating: a4[at]), lanes, s4)
            s5 = multiplyAdd(Lanes(repeating: a5[at]), lanes, s5)
            entries += Panels.width
            at &+= innerStride
            left &-= 1
        }
        @inline(always)
        func store(_ sum: Lanes, _ row: Int) {
            guard row < rows else { return }
            let target = c + row &* stride
            var result = sum * alpha
            if width == Panels.width {
                if beta != 0 { result = multiplyAdd(Lanes(target), Lanes(repeating: beta), result) }
                result.store(to: target)
            } else {
                if beta != 0 {
                    result = multiplyAdd(Lanes(target, first: width), Lanes(repeating: beta), result)
                }
                result.store(to: target, first: width)
            }
        }
        store(s0, 0)
        store(s1, 1)
        store(s2, 2)
        store(s3, 3)
        store(s4, 4)
        store(s5, 5)
    }
}
