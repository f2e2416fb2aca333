import Tensors
import Testing

/// Threads share out work without changing any result. Serialized, because the number of threads is the process's.
@Suite(.serialized) struct ThreadsTests {
    /// The results of `body` with one thread and with several, which must be the same bit by bit.
    private func expectSame(_ name: String, _ body: () -> [[Float]]) {
        defer { Threads.configure(1) }
        Threads.configure(1)
        let expected = body().map { $0.map(\.bitPattern) }
        for count in [2, 3, 8] {
            Threads.configure(count)
            #expect(Threads.count == count)
            #expect(body().map { $0.map(\.bitPattern) } == expected, "\(name), \(count) threads")
        }
    }

    @Test(arguments: Layout.allCases) func rowKernels(layout: Layout) {
        let (rows, columns) = (1_000, 333)
        func samples() -> Samples { Samples(seed: 101) }
        expectSame("RMSNorm") {
            let samples = samples()
            let (x, dy) = (samples.normal(rows, columns, layout).tensor, samples.normal(rows, columns, layout).tensor)
            let weight = samples.normal(1, columns).tensor
            let (y, dx) = (Tensor(rows: rows, columns: columns), Tensor(rows: rows, columns: columns, repeating: 0))
            let (inverse, dw) = (Tensor(rows: rows, columns: 1), Tensor(rows: 1, columns: columns, repeating: 0))
            RMSNorm.forward(x, weight: weight, epsilon: 1e-5, into: y, inverseRMS: inverse)
            RMSNorm.backward(
                x, weight: weight, inverseRMS: inverse, outputGradient: dy, inputGradient: dx, weightGradient: dw)
            return [y.array, dx.array, dw.array]
        }
        expectSame("SwiGLU and Softmax") {
            let samples = samples()
            let (x, dy) = (samples.normal(rows, columns, layout).tensor, samples.normal(rows, columns, layout).tensor)
            let y = samples.garbage(rows, columns, layout).tensor
            SwiGLU.forward(gate: x, up: dy, into: y)
            SwiGLU.backward(gate: x, up: dy, outputGradient: y, gateGradient: x, upGradient: dy)
            let z = samples.garbage(rows, columns, layout).tensor
            Softmax.forward(x, into: z)
            Softmax.backward(y: z, outputGradient: dy, into: dy)
            return [x.array, y.array, z.array, dy.array]
        }
        expectSame("Rows and reductions") {
            let samples = samples()
            let x = samples.normal(rows, columns, layout).tensor
            let indices = samples.integers(rows, below: 10)
            let (few, gathered) = (
                samples.normal(10, columns, layout).tensor, samples.garbage(rows, columns, layout).tensor
            )
            Rows.gather(few, indices: indices, into: gathered)
            Rows.scatterAdd(x, indices: indices, scales: Rows.dots(x, gathered), into: few)
            Rows.add(x, into: gathered)
            let sum = Reductions.sumOfSquares(x)
            return [gathered.array, few.array, [Float(sum), Float(sum - Double(Float(sum)))]]
        }
        expectSame("CrossEntropy and AdamW") {
            let samples = samples()
            let x = samples.normal(rows, columns, layout).tensor
            let targets = samples.integers(rows, below: columns)
            let loss = CrossEntropy.forwardBackward(logits: x, targets: targets, gradientScale: 1)
            let w = samples.normal(rows, columns, layout).tensor
            let (m, v) = (
                Tensor(rows: rows, columns: columns, repeating: 0), Tensor(rows: rows, columns: columns, repeating: 0)
            )
            AdamW.update(
                value: w, gradient: x, firstMoment: m, secondMoment: v, step: 1,
                configuration: AdamW.Configuration(learningRate: 1e-3))
            return [x.array, w.array, m.array, v.array, [Float(loss)]]
        }
        expectSame("RotaryEmbedding") {
            let x = samples().normal(rows, 320, layout).tensor
            let rotary = RotaryEmbedding(headDimension: 32, base: 1e6, maximumPositions: 100)
            rotary.apply(x, heads: 10, sequenceLength: 100)
            return [x.array]
        }
    }

    @Test func attention() {
        expectSame("CausalAttention") {
            let samples = Samples(seed: 102)
            let (rows, length) = (4 * 100, 100)
            let (query, dy) = (samples.normal(rows, 64).tensor, samples.normal(rows, 64).tensor)
            let (key, value) = (samples.normal(rows, 32).tensor, samples.normal(rows, 32).tensor)
            let (output, logSumExp) = (Tensor(rows: rows, columns: 64), Tensor(rows: 16, columns: length))
            CausalAttention.forward(
                query: query, key: key, value: value, sequences: 4, sequenceLength: length, heads: 4,
                keyValueHeads: 2, into: output, logSumExp: logSumExp)
            let (dq, dk, dv) = (
                Tensor(rows: rows, columns: 64), Tensor(rows: rows, columns: 32), Tensor(rows: rows, columns: 32)
            )
            CausalAttention.backward(
                query: query, key: key, value: value, output: output, logSumExp: logSumExp, outputGradient: dy,
                sequences: 4, sequenceLength: length, heads: 4, keyValueHeads: 2, queryGradient: dq,
                keyGradient: dk, valueGradient: dv)
            return [output.array, logSumExp.array, dq.array, dk.array, dv.array]
        }
    }

    /// OpenBLAS may round the entries at the edge of a block in another way, so these are equal but for rounding.
    @Test(arguments: [(200, 300, 70), (1, 5_000, 200), (3_000, 1, 200), (129, 131, 127)])
    func products(rows: Int, columns: Int, inner: Int) {
        defer { Threads.configure(1) }
        let samples = Samples(seed: 103)
        let (a, b) = (samples.normal(rows, inner).tensor, samples.normal(columns, inner, .strided).tensor)
        Threads.configure(1)
        let expected = Tensor(rows: rows, columns: columns)
        GEMM.multiply(a, b, transposeB: true, into: expected)
        for count in [2, 3, 8] {
            Threads.configure(count)
            let c = samples.garbage(rows, columns, .strided)
            GEMM.multiply(a, b, transposeB: true, into: c.tensor)
            #expect(largestError(c.tensor, doubles(expected)) < 2e-6, "\(count) threads, seed \(samples.seed)")
            #expect(c.isFrameIntact)
        }
    }
}
