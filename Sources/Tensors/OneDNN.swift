import CVectors
import Glibc

/// Matrix products by oneDNN (uxlfoundation/oneDNN; Debian: libdnnl), which is used where it is installed: large ones take a tenth less
/// time than OpenBLAS's on processors with AVX-512, those of few rows a fraction on all, and it multiplies bfloat16. It is looked up
/// when first needed, so that the programs run without it.
struct OneDNN {
    /// `dnnl_sgemm` of dnnl.h: C = α·op(A)·op(B) + β·C, row-major; M, N, K; 0: it was done.
    typealias SGEMM =
        @convention(c) (
            CChar, CChar, Int, Int, Int, Float, Entries, Int, Entries, Int, Float, MutableEntries, Int
        ) -> Int32
    /// `dnnl_gemm_bf16bf16f32`, the same for factors of bfloat16. The library exports it beside `dnnl_gemm_s8s8s32`.
    typealias BFloat16GEMM =
        @convention(c) (
            CChar, CChar, Int, Int, Int, Float, UnsafePointer<UInt16>, Int, UnsafePointer<UInt16>, Int, Float,
            MutableEntries,
            Int
        ) -> Int32
    private typealias Version = @convention(c) () -> UnsafePointer<Int32>

    let sgemm: SGEMM
    /// Nil: this version has none, or the processor, or it must not use them. Compiled when it is first asked for.
    var bfloat16GEMM: BFloat16GEMM? { Self.installedBFloat16GEMM }
    private let foundBFloat16GEMM: BFloat16GEMM?
    /// For example `2.6.3`.
    let version: String

    private static let installed: OneDNN? = OneDNN()
    private static let installedBFloat16GEMM: BFloat16GEMM? = installed?.foundBFloat16GEMM.flatMap { gemm in
        let isMade =
            processor_has_bfloat16() != 0 && makes { gemm($0, $0, $1, $1, $1, 1, $2, $1, $2, $1, 0, $3, $1) }
        return isMade ? gemm : nil
    }
    private static let hasAVX512 = processor_has_avx512() != 0

    /// Nil: it is not installed, or not to be used.
    static var shared: OneDNN? { MatrixLibrary.current == .automatic ? installed : nil }

    /// Whether its product takes less time than OpenBLAS's.
    ///
    /// With AVX-512 OpenBLAS is ahead in small products, by up to a fifth, for which it leaves the factors where they are. Before others
    /// it copies all of b, which takes more than ten times as long as the product where a has few rows. oneDNN copies, too, but falls behind
    /// only where b is transposed and has few rows, as a router's weights have.
    ///
    /// Without AVX-512 oneDNN is ahead: five times in products of a single row, a fifth in those of 16. But it leaves the factors of products
    /// of few rows or columns where they are (`nocopy_checker_avx2` in its gemm_driver.cpp). Where it goes down the rows of one and these
    /// lie a multiple of 2 KiB apart, they share sets of the cache, and it takes up to twice OpenBLAS's time.
    static func suits(_ a: GEMM.Factor, _ b: GEMM.Factor, rows: Int, columns: Int, inner: Int) -> Bool {
        if hasAVX512 {
            return !(b.transposed && columns < 128)
                && openBLASCopies(rows: rows, columns: columns, inner: inner, transposedB: b.transposed)
        }
        let copies = 1 / Double(rows) + 1 / Double(columns) < 0.0038
        return copies || rows < 8 || !(a.transposed && sharesSets(a) || !b.transposed && sharesSets(b))
    }

    /// Which products are not small to OpenBLAS: its `sgemm_small_kernel_permit_skylakex.c`.
    private static func openBLASCopies(rows: Int, columns: Int, inner: Int, transposedB: Bool) -> Bool {
        rows * columns * inner > 1_000_000 || transposedB && (rows * columns > 1_200 || inner < 32)
    }

    /// How many rows of a product to ask oneDNN for at once.
    ///
    /// With AVX-512 and a transposed b it leaves b where it is for fewer than 16 rows, four at a time (its
    /// `jit_avx512_core_gemm_smalln_tn_f32_kern.cpp`), and copies b for more, which takes as long as 8 to 24 rows do: up to 48 rows it takes
    /// less time for a dozen after the other, as long as b stays in a cache and its rows are not short.
    static func rowsAtOnce(_ b: GEMM.Factor, rows: Int, columns: Int, inner: Int) -> Int {
        let takesParts =
            hasAVX512 && b.transposed && rows >= 16 && rows <= 48 && inner >= 512 && columns * inner <= 1 << 22
        return takesParts ? 12 : rows
    }

    private static func sharesSets(_ factor: GEMM.Factor) -> Bool { factor.stride % 512 == 0 }

    private init?() {
        // Ranks and their threads are all the parallelism there is to be. The library reads this when it is loaded.
        setenv("OMP_NUM_THREADS", "1", 1)
        let names = ["libdnnl.so.3", "libdnnl.so.2"]
        guard let library = names.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first,
            let version = dlsym(library, "dnnl_version").map({ unsafeBitCast($0, to: Version.self)() }),
            let sgemm = dlsym(library, "dnnl_sgemm").map({ unsafeBitCast($0, to: SGEMM.self) }),
            Self.makes({ sgemm($0, $0, $1, $1, $1, 1, $2, $1, $2, $1, 0, $3, $1) })
        else { return nil }
        self.sgemm = sgemm
        self.version = "\(version[0]).\(version[1]).\(version[2])"
        foundBFloat16GEMM = dlsym(library, "dnnl_gemm_bf16bf16f32").map {
            unsafeBitCast($0, to: BFloat16GEMM.self)
        }
    }

    /// Whether a product is made of factors that `gemm` takes. The library compiles its products when they are first made, which a process
    /// may be forbidden (`MemoryDenyWriteExecute=` of systemd), and may be kept from instructions that the processor has
    /// (`DNNL_MAX_CPU_ISA`).
    private static func makes<Entry: AdditiveArithmetic>(
        _ gemm: (CChar, Int, UnsafePointer<Entry>, MutableEntries) -> Int32
    ) -> Bool {
        let extent = 96
        let factor = [Entry](repeating: .zero, count: extent * extent)
        var result = [Float](repeating: 1, count: extent * extent)
        return gemm(letter(false), extent, factor, &result) == 0
    }

    static func letter(_ isTransposed: Bool) -> CChar { CChar(UInt8(ascii: isTransposed ? "T" : "N")) }
}
