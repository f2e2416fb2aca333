/// y = e^x / Σ e^x, by row.
public enum Softmax {
    /// - Parameters:
    ///   - x: (T, n)
    ///   - y: (T, n), overwritten; may be x.
    public static func forward(_ x: Tensor, into y: Tensor) {
        precondition(x.hasShape(of: y), "shapes differ")
        let columns = x.columns
        let (input, output) = (x.matrix, y.matrix)
        Threads.split(x.rows, cost: 2 * columns) { rows in
            for row in rows {
                let y = output.row(row)
                let (_, sum) = exponentials(of: input.row(row), into: y, count: columns)
                writeScaled(y, by: 1 / sum, into: y, count: columns)
            }
        }
    }

    /// dL/dx = y ⊙ (dy − Σ y·dy), by row.
    /// - Parameters:
    ///   - y: (T, n), from forward.
    ///   - dy: dL/dy, (T, n)
    ///   - dx: dL/dx, (T, n), overwritten; may be dy or y.
    public static func backward(y: Tensor, outputGradient dy: Tensor, into dx: Tensor) {
        precondition(y.hasShape(of: dy) && y.hasShape(of: dx), "shapes differ")
        let columns = y.columns
        let (output, gradient, result) = (y.matrix, dy.matrix, dx.matrix)
        Threads.split(y.rows, cost: columns) { rows in
            for row in rows {
                let (y, dy) = (output.row(row), gradient.row(row))
                let sum = dotProduct(y, dy, count: columns)
                @inline(always)
                func slope(_ y: Lanes, _ dy: Lanes) -> Lanes { y * (dy - sum) }
                map(y, dy, into: result.row(row), count: columns, slope)
            }
        }
    }

    /// The largest entry; unspecified when one is NaN.
    @inline(always)
    static func largest(_ x: Entries, count: Int) -> Float {
        var (first, second) = (Lanes(repeating: -.infinity), Lanes(repeating: -.infinity))
        var i = 0
        while i &+ 32 <= count {
            first = larger(first, Lanes(x + i))
            second = larger(second, Lanes(x + i + 16))
            i &+= 32
        }
        if i &+ 16 <= count {
            first = larger(first, Lanes(x + i))
            i &+= 16
        }
        let rest = count &- i
        if rest > 0 { second = larger(second, Lanes(x + i, first: rest, fill: -.infinity)) }
        return larger(first, second).largest
    }

    /// y = e^(x − max x).
    /// - Returns: max x and Σ y; NaN in x makes the sum NaN.
    @inline(always)
    static func exponentials(of x: Entries, into y: MutableEntries, count: Int) -> (largest: Float, sum: Float) {
        let shift = largest(x, count: count)
        var (first, second) = (Lanes.zero, Lanes.zero)
        var i = 0
        while i &+ 32 <= count {
            let a = exponential(Lanes(x + i) - shift)
            let b = exponential(Lanes(x + i + 16) - shift)
            a.store(to: y + i)
            b.store(to: y + i + 16)
            first += a
            second += b
            i &+= 32
        }
        if i &+ 16 <= count {
            let a = exponential(Lanes(x + i) - shift)
            a.store(to: y + i)
            first += a
            i &+= 16
        }
        let rest = count &- i
        if rest > 0 {
            let a = exponential(Lanes(x + i, first: rest, fill: -.infinity) - shift)
            a.store(to: y + i, first: rest)
            second += a
        }
        return (shift, (first + second).total)
    }
}
