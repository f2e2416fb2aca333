import COpenBLAS

/// Which BLAS computes matrix products here.
public enum BLASInfo {
    /// The processor family that OpenBLAS chose its kernels for, for example `Haswell` or `SkylakeX`.
    public static var kernel: String { String(cString: openblas_get_corename()) }

    /// The version of OpenBLAS, for example `0.3.21`.
    public static var version: String {
        let words = String(cString: openblas_get_config()).split(separator: " ")
        return words.count > 1 && words[0] == "OpenBLAS" ? String(words[1]) : "unknown"
    }
}
