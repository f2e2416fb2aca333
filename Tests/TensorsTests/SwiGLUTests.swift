import Foundation
import Tensors
import Testing

@Suite struct SwiGLUTests {
    private func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

    @Test(arguments: Layout.allCases) func forwardAndBackward(layout: Layout) {
        let samples = Samples(seed: 41)
        withEvery(interestingRows, interestingColumns) { rows, columns in
            let gate = samples.normal(rows, columns, layout, scale: 4)
            let up = samples.normal(rows, columns, layout)
            let dy = samples.normal(rows, columns, layout)
            let y = samples.garbage(rows, columns, layout)
            SwiGLU.forward(gate: gate.tensor, up: up.tensor, into: y.tensor)
            let (gates, ups, dys) = (doubles(gate.tensor), doubles(up.tensor), doubles(dy.tensor))
            #expect(
                largestError(y.tensor, zip(gates, ups).map { silu($0) * $1 }) < 1e-6,
                "\(rows) × \(columns), seed \(samples.seed)")
            #expect(y.isFrameIntact)

            let (dGate, dUp) = (samples.garbage(rows, columns, layout), samples.garbage(rows, columns, layout))
            SwiGLU.backward(
                gate: gate.tensor, up: up.tensor, outputGradient: dy.tensor, gateGradient: dGate.tensor,
                upGradient: dUp.tensor)
            let gateGradient = gates.indices.map { index in
                let step = 1e-5
                let slope = (silu(gates[index] + step) - silu(gates[index] - step)) / (2 * step)
                return slope * ups[index] * dys[index]
            }
            #expect(largestError(dGate.tensor, gateGradient) < 2e-6, "\(rows) × \(columns), seed \(samples.seed)")
            #expect(
                largestError(dUp.tensor, zip(gates, dys).map { silu($0) * $1 }) < 1e-6,
                "\(rows) × \(columns), seed \(samples.seed)")
            #expect(dGate.isFrameIntact && dUp.isFrameIntact)

            // In place, as experts do it.
            SwiGLU.backward(
                gate: gate.tensor, up: up.tensor, outputGradient: dy.tensor, gateGradient: gate.tensor,
                upGradient: up.tensor)
            #expect(gate.tensor.array == dGate.tensor.array && up.tensor.array == dUp.tensor.array)
            #expect(gate.isFrameIntact && up.isFrameIntact)
        }
    }

    /// silu by itself: the relative error where the result is normal.
    @Test func siluOverTheWholeRange() {
        let arguments = (-87_000...100_000).map { Float($0) * 1e-3 } + [1e10, -0.0, 1e-30, -1e-38]
        let gate = Tensor(arguments, rows: 1, columns: arguments.count)
        let one = Tensor(rows: 1, columns: arguments.count, repeating: 1)
        let y = Tensor(rows: 1, columns: arguments.count)
        SwiGLU.forward(gate: gate, up: one, into: y)
        // A number that is none is not seen among the largest.
        #expect(y.array.allSatisfy { $0.isFinite })
        var largest = 0.0
        for (x, y) in zip(arguments, y.array) where x != 0 {
            let exact = silu(Double(x))
            if abs(exact) > Double(Float.leastNormalMagnitude) {
                largest = max(largest, abs(Double(y) - exact) / abs(exact))
            }
        }
        #expect(largest < 5e-7)
    }

    /// A gate that is closed stays so, whatever comes; and what backward computes again has the same bits.
    @Test func closedGatesLetNothingThrough() {
        let gate = Tensor([-100, -90, -100, 3, -2.5], rows: 1, columns: 5)
        let up = Tensor([3e38, -3e38, 1, 0.7, 1.3], rows: 1, columns: 5)
        let y = Tensor(rows: 1, columns: 5)
        SwiGLU.forward(gate: gate, up: up, into: y)
        #expect(y.array.prefix(3).allSatisfy { abs($0) < 1 }, "\(y.array)")
        let (again, zeros) = (Tensor(rows: 1, columns: 5), Tensor(rows: 1, columns: 5, repeating: 0))
        let (gateGradient, upGradient) = (Tensor(rows: 1, columns: 5), Tensor(rows: 1, columns: 5))
        SwiGLU.backward(
            gate: gate, up: up, outputGradient: zeros, gateGradient: gateGradient, upGradient: upGradient, output: again
        )
        #expect(again.array.map(\.bitPattern) == y.array.map(\.bitPattern))
    }

    @Test func nonFiniteEntriesShow() {
        let gate = Tensor([.nan, .infinity, -.infinity, 1, 1], rows: 1, columns: 5)
        let up = Tensor([1, 1, 1, .nan, .infinity], rows: 1, columns: 5)
        let y = Tensor(rows: 1, columns: 5)
        SwiGLU.forward(gate: gate, up: up, into: y)
        for value in y.array { #expect(!value.isFinite) }
        SwiGLU.backward(gate: gate, up: up, outputGradient: up, gateGradient: gate, upGradient: y)
        for value in y.array { #expect(!value.isFinite) }
    }
}
