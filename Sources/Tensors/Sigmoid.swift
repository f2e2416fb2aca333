/// y = 1 / (1 + e^-x), entry by entry.
public enum Sigmoid {
    /// - Parameters:
    ///   - x: (T, n)
    ///   - y: (T, n), overwritten; may be x.
    public static func forward(_ x: Tensor, into y: Tensor) {
        precondition(x.hasShape(of: y), "shapes differ")
        let (input, output) = (x.matrix, y.matrix)
        Threads.splitEntries(of: x, contiguous: x.isContiguous && y.isContiguous) { row, column, count in
            @inline(always)
            func value(_ x: Lanes) -> Lanes { sigmoid(x) }
            map(input.row(row) + column, into: output.row(row) + column, count: count, value)
        }
    }
}
