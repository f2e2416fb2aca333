/// Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467): y = x / √(mean(x²) + ε) ⊙ weight, by row.
public enum RMSNorm {
    /// - Parameters:
    ///   - x: (T, D)
    ///   - weight: (1, D)
    ///   - y: (T, D), overwritten; may be x.
    ///   - inverseRMS: (T, 1), gapless, overwritten: 1 / √(mean(x²) + ε), for backward.
    ///   - meanSquares: mean(x²) of each row, where x is a part of longer rows; nil: it is all of them.
    public static func forward(
        _ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor, inverseRMS: Tensor, meanSquares: [Float]? = nil
    ) {
        precondition(x.hasShape(of: y) && weight.hasShape(1, x.columns), "shapes differ")
        precondition(inverseRMS.hasShape(x.rows, 1) && inverseRMS.isContiguous, "one inverse a row, without gaps")
        precondition(meanSquares.map { $0.count == x.rows } ?? true, "one mean a row")
        let columns = x.columns
        let (input, output) = (x.matrix, y.matrix)
        let (weight, inverses) = (weight.pointer, inverseRMS.pointer)
        Threads.split(x.rows, cost: columns) { rows in
            for row in rows {
                let (x, y) = (input.row(row), output.row(row))
                let meanSquare = meanSquares?[row] ?? dotProduct(x, x, count: columns) / Float(columns)
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
        check(x, weight, inverseRMS, dy)
        precondition(x.hasShape(of: dx) && dw.hasShape(1, x.columns), "shapes differ")
        let columns = x.columns
        let (input, output, result) = (x.matrix, dy.matrix, dx.matrix)
        let (weight, inverses) = (weight.pointer, inverseRMS.pointer)
        sumBlocks(rows: x.rows, into: dw) { row, sums in
            let (x, dy, inverse) = (input.row(row), output.row(row), inverses[row])
            let sum = weightBackward(
                x, weight: weight, inverse: inverse, outputGradient: dy, weightGradient: sums, count: columns)
            inputBackward(
                x, weight: weight, inverse: inverse, outputGradient: dy, mean: sum / Float(columns),
                inputGradient: result.row(row), count: columns)
        }
    }

    /// The first half of `backward`, where x is a part of longer rows. The parameters are as there.
    /// - Returns: Σ dy ⊙ weight ⊙ x/RMS of each row, over the columns of x.
    public static func weightBackward(
        _ x: Tensor, weight: Tensor, inverseRMS: Tensor, outputGradient dy: Tensor, weightGradient dw: Tensor
    ) -> [Float] {
        check(x, weight, inverseRMS, dy)
        precondition(dw.hasShape(1, x.columns), "shapes differ")
        let (columns, input, output) = (x.columns, x.matrix, dy.matrix)
        let (weight, inverses) = (weight.pointer, inverseRMS.pointer)
        return [Float](unsafeUninitializedCapacity: x.rows) { buffer, initialized in
            let results = buffer
            sumBlocks(rows: x.rows, into: dw) { row, sums in
                results.initializeElement(
                    at: row,
                    to: weightBackward(
                        input.row(row), weight: weight, inverse: inverses[row], outputGradient: output.row(row),
                        weightGradient: sums, count: columns))
            }
            initialized = x.rows
        }
    }

    /// The second half.
    /// - Parameter productMeans: of what the first half sums, over all columns of the longer rows.
    public static func inputBackward(
        _ x: Tensor, weight: Tensor, inverseRMS: Tensor, outputGradient dy: Tensor, productMeans: [Float],
        inputGradient dx: Tensor
    ) {
        check(x, weight, inverseRMS, dy)
        precondition(x.hasShape(of: dx) && productMeans.count == x.rows, "shapes differ")
        let (columns, input, output, result) = (x.columns, x.matrix, dy.matrix, dx.matrix)
        let (weight, inverses) = (weight.pointer, inverseRMS.pointer)
        Threads.split(x.rows, cost: columns) { rows in
            for row in rows {
                inputBackward(
                    input.row(row), weight: weight, inverse: inverses[row], outputGradient: output.row(row),
                    mean: productMeans[row], inputGradient: result.row(row), count: columns)
            }
        }
    }

    private static func check(_ x: Tensor, _ weight: Tensor, _ inverseRMS: Tensor, _ dy: Tensor) {
        precondition(x.hasShape(of: dy) && weight.hasShape(1, x.columns), "shapes differ")
        precondition(inverseRMS.hasShape(x.rows, 1) && inverseRMS.isContiguous, "one inverse a row, without gaps")
    }

    /// Calls `body` for each row, with memory whose sum over the rows is added to `dw`: in blocks, and the blocks in order, so that the sum
    /// does not depend on the threads.
    @inline(always)
    private static func sumBlocks(
        rows: Int, into dw: Tensor, _ body: (_ row: Int, _ sums: MutableEntries) -> Void
    ) {
        let blockRows = 128
        let blocks = (rows + blockRows - 1) / blockRows
        let partial = Tensor(rows: blocks, columns: dw.columns, repeating: 0)
        let sums = partial.matrix
        Threads.split(blocks, cost: blockRows * dw.columns) { range in
            for block in range {
                for row in block * blockRows..<min((block + 1) * blockRows, rows) { body(row, sums.row(block)) }
            }
        }
        for block in 0..<blocks { Rows.add(partial.rows(block..<block + 1), into: dw) }
    }

    /// One row: dw += dy ⊙ x̂, where x̂ = x·r.
    /// - Returns: Σ dy ⊙ w ⊙ x̂, which is summed meanwhile, because dy and x are at hand.
    @inline(always)
    private static func weightBackward(
        _ x: Entries, weight: Entries, inverse: Float, outputGradient dy: Entries, weightGradient dw: MutableEntries,
        count: Int
    ) -> Float {
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
        return (first + second).total * inverse
    }

    /// One row: dx += r·(dy ⊙ w − x̂·mean), where mean is that of dy ⊙ w ⊙ x̂.
    @inline(always)
    private static func inputBackward(
        _ x: Entries, weight: Entries, inverse: Float, outputGradient dy: Entries, mean: Float,
        inputGradient dx: MutableEntries, count: Int
    ) {
        let scale = Lanes(repeating: inverse)
        let pull = Lanes(repeating: -mean * inverse * inverse)
        var i = 0
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
