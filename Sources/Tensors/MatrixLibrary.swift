import Synchronization

/// Which library makes matrix products. One choice for the whole process.
public enum MatrixLibrary: String, CaseIterable, Sendable, Codable {
    /// oneDNN for what it is faster at, where it is installed; otherwise OpenBLAS.
    case automatic = "auto"
    case openBLAS = "openblas"

    private static let configured = Atomic<Bool>(false)

    /// `automatic` unless `configure` said otherwise.
    public static var current: MatrixLibrary { configured.load(ordering: .relaxed) ? .openBLAS : .automatic }

    public static func configure(_ library: MatrixLibrary) {
        configured.store(library == .openBLAS, ordering: .relaxed)
    }
}
