/// Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467): y = x / √(mean(x²) + ε) ⊙ weight, by row.
public enum RMSNorm {
    /// - Parameters:
    ///   - x: (T, D)
    ///   - weight: (1, D)
    ///   - y: (T, D), overwritten; may be x.
    ///   - inverseRMS: (T, 1), gapless, overwritten: 1 / √(mean(x²) + ε), for backward.
    public static func forward(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor, inverseRMS: Tensor) {
        precondition(x.hasShape(of: y) && weight.hasShape(1, x.columns), "shapes differ")
        precondition(inverseRMS.hasShape(x.rows, 1) && inverseRMS.isContiguous, "one inverse a row, without gaps")
        let columns = x.columns
        let (input, output) = (x.matrix, y.matrix)
        let (weight, inverses) = (weight.pointer, inverseRMS.pointer)
        Threads.split(x.rows, cost: columns) { rows in
            for row in rows {
                let (x, y) = (input.row(row), output.row(row))
                let meanSquare = dotProduct(x, x, count: columns) / Float(columns)
                let inverse = 1 / (meanSquare + epsilon).squareRoot()
                inverses[row] = inverse
                @inline(always)
                func normalized(_ x: Lanes, _ weight: Lanes) -> Lanes { x * inverse * weight }
                map(x, weight, into: y, count: columns, normalized)
            }
        }
    }

    /// - Parameters:
    ///   - x: (T, D), as in forward.
    ///   - weight: (1, D)
    ///   - inverseRMS: (T, 1), from forward.
    ///   - dy: dL/dy, (T, D)
    ///   - dx: dL/dx, (T, D), added to; may not be dy.
    ///   - dw: dL/dweight, (1, D), added to.
    public static func backward(
        _ x: Tensor, weight: Tensor, inverseRMS: Tensor, outputGradient dy: Tensor, inputGradient dx: Tensor,
        weightGradient dw: Tensor
    ) {
        precondition(x.hasShape(of: dy) && x.hasShape(of: dx), "shapes differ")
        precondition(weight.hasShape(1, x.columns) && dw.hasShape(1, x.columns), "shapes differ")
        precondition(inverseRMS.hasShape(x.rows, 1) && inverseRMS.isContiguous, "one inverse a row, without gaps")
        let columns = x.columns
        // Rows are summed in blocks, and blocks in order, so that the sum does not depend on the threads.
        let blockRows = 128
        let blocks = (x.rows + blockRows - 1) / blockRows
        let partial = Tensor(rows: blocks, columns: columns, repeating: 0)
        let (input, output, result, sums) = (x.matrix, dy.matrix, dx.matrix, partial.matrix)
        let (rowCount, weight, inverses) = (x.rows, weight.pointer, inverseRMS.pointer)
        Threads.split(blocks, cost: blockRows * columns) { range in
            for block in range {
                for row in block * blockRows..<min((block + 1) * blockRows, rowCount) {
                    backward(
                        input.row(row), weight: weight, inverse: inverses[row], outputGradient: output.row(row),
                        inputGradient: result.row(row), weightGradient: sums.row(block), count: columns)
                }
            }
        }
        for block in 0..<blocks { Rows.add(partial.rows(block..<block + 1), into: dw) }
    }

    /// One row: dx += r·(dy ⊙ w − x̂·mean(dy ⊙ w ⊙ x̂)) and dw += dy ⊙ x̂, where x̂ = x·r.
    @inline(always)
    private static func backward(
        _ x: Entries, weight: Entries, inverse: Float, outputGradient dy: Entries, inputGradient dx: MutableEntries,
        weightGradient dw: MutableEntries, count: Int
    ) {
        // The first pass also sums dw, because dy and x are at hand.
        var (first, second) = (Lanes.zero, Lanes.zero)
        var i = 0
        while i &+ 32 <= count {
            let a = Lanes(dy + i) * Lanes(x + i)
            let b = Lanes(dy + i + 16) * Lanes(x + i + 16)
            multiplyAdd(a, Lanes(repeating: inverse), Lanes(dw + i)).store(to: dw + i)
            multiplyAdd(b, Lanes(repeating: inverse), Lanes(dw + i + 16)).store(to: dw + i + 16)
            first = multiplyAdd(a, Lanes(weight + i), first)
            second = multiplyAdd(b, Lanes(weight + i + 16), second)
            i &+= 32
        }
        while i < count {
            let rest = min(count &- i, 16)
            if rest == 16 {
                let a = Lanes(dy + i) * Lanes(x + i)
                multiplyAdd(a, Lanes(repeating: inverse), Lanes(dw + i)).store(to: dw + i)
                first = multiplyAdd(a, Lanes(weight + i), first)
            } else {
                let a = Lanes(dy + i, first: rest) * Lanes(x + i, first: rest)
                multiplyAdd(a, Lanes(repeating: inverse), Lanes(dw + i, first: rest)).store(to: dw + i, first: rest)
                second = multiplyAdd(a, Lanes(weight + i, first: rest), second)
            }
            i &+= rest
        }
        let scale = Lanes(repeating: inverse)
        let mean = (first + second).total * inverse / Float(count)
        let pull = Lanes(repeating: -mean * inverse * inverse)
        i = 0
        while i &+ 16 <= count {
            let sum = multiplyAdd(Lanes(x + i), pull, Lanes(dx + i))
            multiplyAdd(Lanes(dy + i) * Lanes(weight + i), scale, sum).store(to: dx + i)
            i &+= 16
        }
        let rest = count &- i
        if rest > 0 {
            let sum = multiplyAdd(Lanes(x + i, first: rest), pull, Lanes(dx + i, first: rest))
            let product = Lanes(dy + i, first: rest) * Lanes(weight + i, first: rest)
            multiplyAdd(product, scale, sum).store(to: dx + i, first: rest)
        }
    }
}
