import Tensors
import Testing

@Suite struct GEMMTests {
    static let extents = [0, 1, 3, 16, 37]

    /// op(a)·op(b) in double precision.
    private func product(_ a: Tensor, _ transposeA: Bool, _ b: Tensor, _ transposeB: Bool) -> [Double] {
        let (rows, inner) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let columns = transposeB ? b.rows : b.columns
        var result = [Double]()
        for i in 0..<rows {
            for j in 0..<columns {
                result.append(
                    (0..<inner).reduce(0) { sum, k in
                        sum + Double(transposeA ? a[k, i] : a[i, k]) * Double(transposeB ? b[j, k] : b[k, j])
                    })
            }
        }
        return result
    }

    @Test(arguments: [false, true], [false, true])
    func equalsTheNaiveProduct(transposeA: Bool, transposeB: Bool) {
        let samples = Samples(seed: 11)
        for m in Self.extents {
            for n in Self.extents {
                for k in Self.extents {
                    for layout in Layout.allCases {
                        let a = transposeA ? samples.normal(k, m, layout) : samples.normal(m, k, layout)
                        let b = transposeB ? samples.normal(n, k, layout) : samples.normal(k, n, layout)
                        let c = samples.normal(m, n, layout)
                        let before = doubles(c.tensor)
                        let expected = zip(product(a.tensor, transposeA, b.tensor, transposeB), before)
                            .map { 0.5 * $0 - 2 * $1 }
                        GEMM.multiply(
                            a.tensor, transposeA: transposeA, b.tensor, transposeB: transposeB, into: c.tensor,
                            alpha: 0.5, beta: -2)
                        #expect(
                            largestError(c.tensor, expected) < 3e-6,
                            "m \(m), n \(n), k \(k), \(layout), seed \(samples.seed)")
                        #expect(c.isFrameIntact, "m \(m), n \(n), k \(k)")
                    }
                }
            }
        }
    }

    @Test(arguments: GEMMTests.extents) func withoutBetaNothingIsRead(inner: Int) {
        let samples = Samples(seed: 12)
        let (a, b) = (samples.normal(5, inner).tensor, samples.normal(inner, 19).tensor)
        let c = samples.garbage(5, 19, .strided)
        GEMM.multiply(a, b, into: c.tensor)
        #expect(largestError(c.tensor, product(a, false, b, false)) < 3e-6, "seed \(samples.seed)")
        #expect(c.isFrameIntact)
    }

    @Test(arguments: [Float.nan, .infinity]) func nonFiniteFactorsShow(value: Float) {
        let a = Tensor(rows: 4, columns: 20, repeating: 0)
        a[2, 7] = value
        let b = Tensor(rows: 20, columns: 33, repeating: 0)
        let c = Tensor(rows: 4, columns: 33)
        GEMM.multiply(a, b, into: c)
        for column in 0..<33 { #expect(c[2, column].isNaN && c[1, column] == 0) }
    }

    /// Shapes of which oneDNN makes some and OpenBLAS others, and either alone.
    @Test(arguments: MatrixLibrary.allCases) func equalsTheNaiveProductWhereLibrariesDiffer(library: MatrixLibrary) {
        MatrixLibrary.configure(library)
        defer { MatrixLibrary.configure(.automatic) }
        let samples = Samples(seed: 14)
        // Small products and those of few rows or columns; without gaps, rows of 512 share sets of the cache. The last are made in parts.
        for (m, n, k, layout) in [
            (64, 96, 64, Layout.strided), (63, 96, 64, .strided), (64, 64, 96, .strided), (64, 64, 64, .strided),
            (100, 100, 100, .strided), (100, 101, 100, .strided), (9, 128, 32, .strided), (10, 128, 32, .strided),
            (9, 128, 31, .strided), (130, 97, 101, .strided), (200, 65, 128, .strided), (1, 1024, 1024, .gapless),
            (7, 512, 384, .gapless), (8, 512, 384, .gapless), (512, 97, 65, .gapless), (97, 1024, 65, .gapless),
            (512, 1024, 64, .gapless), (16, 130, 512, .strided), (31, 130, 520, .gapless), (40, 129, 513, .strided),
        ] {
            for transposed in 0..<4 {
                let (transposeA, transposeB) = (transposed & 1 == 1, transposed & 2 == 2)
                let a = transposeA ? samples.normal(k, m, layout) : samples.normal(m, k, layout)
                let b = transposeB ? samples.normal(n, k, layout) : samples.normal(k, n, layout)
                let c = samples.normal(m, n, layout)
                let before = doubles(c.tensor)
                let expected = zip(product(a.tensor, transposeA, b.tensor, transposeB), before).map {
                    0.5 * $0 - 2 * $1
                }
                GEMM.multiply(
                    a.tensor, transposeA: transposeA, b.tensor, transposeB: transposeB, into: c.tensor, alpha: 0.5,
                    beta: -2)
                #expect(largestError(c.tensor, expected) < 3e-6, "m \(m), n \(n), k \(k), \(library)")
                #expect(c.isFrameIntact)
            }
        }
    }

    /// The product of factors that were rounded to the nearest bfloat16, but for what fp32 sums differ by.
    @Test(.enabled(if: Precision.bfloat16.obstacle == nil, "no bfloat16 here")) func bfloat16RoundsTheFactorsAlone() {
        let samples = Samples(seed: 15)
        func rounded(_ tensor: Tensor) -> Tensor {
            let copy = Tensor(rows: tensor.rows, columns: tensor.columns)
            for row in 0..<tensor.rows {
                for column in 0..<tensor.columns {
                    let bits = tensor[row, column].bitPattern
                    copy[row, column] = Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
                }
            }
            return copy
        }
        for (m, n, k) in [(1, 1, 1), (3, 17, 5), (16, 16, 16), (37, 64, 33), (130, 97, 101)] {
            for transposed in 0..<4 {
                let (transposeA, transposeB) = (transposed & 1 == 1, transposed & 2 == 2)
                for layout in Layout.allCases {
                    let a = transposeA ? samples.normal(k, m, layout) : samples.normal(m, k, layout)
                    let b = transposeB ? samples.normal(n, k, layout) : samples.normal(k, n, layout)
                    let c = samples.normal(m, n, layout)
                    let before = doubles(c.tensor)
                    let expected = zip(
                        product(rounded(a.tensor), transposeA, rounded(b.tensor), transposeB), before
                    ).map { 0.5 * $0 - 2 * $1 }
                    GEMM.multiply(
                        a.tensor, transposeA: transposeA, b.tensor, transposeB: transposeB, into: c.tensor, alpha: 0.5,
                        beta: -2, precision: .bfloat16)
                    #expect(largestError(c.tensor, expected) < 3e-6, "m \(m), n \(n), k \(k), \(layout)")
                    #expect(c.isFrameIntact)
                }
            }
        }
    }

    @Test(.enabled(if: Precision.bfloat16.obstacle == nil, "no bfloat16 here"), arguments: [Float.nan, .infinity])
    func bfloat16KeepsWhatIsNotFinite(value: Float) {
        let (a, b) = (Tensor(rows: 4, columns: 20, repeating: 0), Tensor(rows: 20, columns: 33, repeating: 0))
        a[2, 7] = value
        let c = Tensor(rows: 4, columns: 33)
        GEMM.multiply(a, b, into: c, precision: .bfloat16)
        for column in 0..<33 { #expect(c[2, column].isNaN && c[1, column] == 0) }
    }

    @Test func bfloat16IsRefusedWhereThereIsNone() {
        MatrixLibrary.configure(.openBLAS)
        defer { MatrixLibrary.configure(.automatic) }
        #expect(Precision.bfloat16.obstacle?.contains("--blas") == true)
        #expect(Precision.float32.obstacle == nil)
    }

    @Test func theLibraryNamesItself() {
        #expect(!BLASInfo.kernel.isEmpty)
        #expect(BLASInfo.version.split(separator: ".").count >= 2)
    }
}
