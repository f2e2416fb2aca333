import Synchronization

/// What the factors of matrix products are rounded to, and kept as from forward to backward. Products are summed in fp32 and everything
/// else is fp32, masters of weights among it, whatever this is.
/// One for the whole process.
public enum Precision: String, CaseIterable, Sendable, Codable {
    case float32 = "fp32"
    /// 8 bits of exponent and 8 of significand (Kalamkar et al. 2019, arXiv:1905.12322).
    case bfloat16 = "bf16"

    private static let configured = Atomic<Bool>(false)

    /// fp32 unless `configure` said otherwise.
    public static var current: Precision { configured.load(ordering: .relaxed) ? .bfloat16 : .float32 }

    /// Sets what products round their factors to, unless they say themselves. It must be available.
    public static func configure(_ precision: Precision) {
        precondition(precision.obstacle == nil, "\(precision) is not available")
        configured.store(precision == .bfloat16, ordering: .relaxed)
    }

    /// Why it is not available here; nil when it is.
    public var obstacle: String? {
        guard self == .bfloat16, OneDNN.shared?.bfloat16GEMM == nil else { return nil }
        if MatrixLibrary.current == .openBLAS { return "OpenBLAS has no products of it, and is to make them (--blas)" }
        return OneDNN.shared == nil
            ? "oneDNN is not installed (Debian: apt-get install libdnnl-dev), or must not compile here (MemoryDenyWriteExecute= of systemd)"
            : "this processor has no instructions for it (AVX512_BF16 or AMX-BF16), or oneDNN no products of it or must not use them (DNNL_MAX_CPU_ISA)"
    }
}
