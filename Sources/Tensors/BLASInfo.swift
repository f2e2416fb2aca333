import COpenBLAS

/// Which BLAS computes matrix products here.
public enum BLASInfo {
    /// The processor family that OpenBLAS chose its kernels for, for example `Haswell` or `SkylakeX`.
    public static var kernel: String { String(cString: openblas_get_corename()) }

    /// Both, for people.
    public static var description: String {
        (oneDNNVersion.map { "oneDNN \($0) and " } ?? "") + "BLAS kernel \(kernel)"
    }

    /// The version of oneDNN, for example `2.6.3`; nil: it is not installed, or not to be used.
    public static var oneDNNVersion: String? { OneDNN.shared?.version }

    /// The version of OpenBLAS, for example `0.3.21`.
    public static var version: String {
        let words = String(cString: openblas_get_config()).split(separator: " ")
        return words.count > 1 && words[0] == "OpenBLAS" ? String(words[1]) : "unknown"
    }
}
