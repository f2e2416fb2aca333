/// silu(gate) ⊙ up, where silu(x) = x / (1 + e^-x) (Shazeer 2020, arXiv:2002.05202).
public enum SwiGLU {
    /// - Parameters:
    ///   - gate: (R, F)
    ///   - up: (R, F)
    ///   - y: (R, F), overwritten; may be gate or up.
    public static func forward(gate: Tensor, up: Tensor, into y: Tensor) {
        precondition(gate.hasShape(of: up) && gate.hasShape(of: y), "shapes differ")
        let (gates, ups, output) = (gate.matrix, up.matrix, y.matrix)
        let contiguous = gate.isContiguous && up.isContiguous && y.isContiguous
        Threads.splitEntries(of: gate, contiguous: contiguous) { row, column, count in
            @inline(always)
            func product(_ gate: Lanes, _ up: Lanes) -> Lanes { gate * sigmoid(gate) * up }
            map(gates.row(row) + column, ups.row(row) + column, into: output.row(row) + column, count: count, product)
        }
    }

    /// - Parameters:
    ///   - gate: (R, F)
    ///   - up: (R, F)
    ///   - dy: dL/dy, (R, F)
    ///   - gateGradient: (R, F), overwritten; may be gate, up or dy.
    ///   - upGradient: (R, F), overwritten; may be gate, up or dy, but not `gateGradient`.
    ///   - y: becomes what forward had, (R, F), for those that did not keep it; may be gate, up or dy, but none of the gradients.
    public static func backward(
        gate: Tensor, up: Tensor, outputGradient dy: Tensor, gateGradient: Tensor, upGradient: Tensor,
        output y: Tensor? = nil
    ) {
        precondition(gate.hasShape(of: up) && gate.hasShape(of: dy), "shapes differ")
        precondition(gate.hasShape(of: gateGradient) && gate.hasShape(of: upGradient), "shapes differ")
        precondition(y.map { $0.hasShape(of: gate) } ?? true, "shapes differ")
        let (gates, ups, output) = (gate.matrix, up.matrix, dy.matrix)
        let (gateResult, upResult, outputResult) = (gateGradient.matrix, upGradient.matrix, y?.matrix)
        let contiguous =
            gate.isContiguous && up.isContiguous && dy.isContiguous && gateGradient.isContiguous
            && upGradient.isContiguous && y?.isContiguous ?? true
        Threads.splitEntries(of: gate, contiguous: contiguous) { row, column, count in
            let (gate, up, dy) = (gates.row(row) + column, ups.row(row) + column, output.row(row) + column)
            let (gateGradient, upGradient) = (gateResult.row(row) + column, upResult.row(row) + column)
            let y = outputResult.map { $0.row(row) + column }
            var i = 0
            while i &+ 16 <= count {
                let result = differentiate(Lanes(gate + i), Lanes(up + i), Lanes(dy + i))
                result.gate.store(to: gateGradient + i)
                result.up.store(to: upGradient + i)
                if let y { result.output.store(to: y + i) }
                i &+= 16
            }
            let rest = count &- i
            if rest > 0 {
                let result = differentiate(
                    Lanes(gate + i, first: rest), Lanes(up + i, first: rest), Lanes(dy + i, first: rest))
                result.gate.store(to: gateGradient + i, first: rest)
                result.up.store(to: upGradient + i, first: rest)
                if let y { result.output.store(to: y + i, first: rest) }
            }
        }
    }

    /// silu'(x) = σ + x·σ·(1 − σ) with σ = sigmoid(x).
    @inline(always)
    private static func differentiate(
        _ gate: Lanes, _ up: Lanes, _ dy: Lanes
    ) -> (gate: Lanes, up: Lanes, output: Lanes) {
        let sigmoid = sigmoid(gate)
        let silu = gate * sigmoid
        return (dy * up * multiplyAdd(silu, 1 - sigmoid, sigmoid), dy * silu, silu * up)
    }
}
