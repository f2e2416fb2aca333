import Synchronization

/// The type of a tensor's entries.
public enum ElementType: String, Sendable, Codable {
    case float32

    /// Bytes an entry.
    public var sizeBytes: Int {
        switch self {
        case .float32: 4
        }
    }
}

/// Aligned memory for the entries of one or more tensors. Freed when the last tensor that views it goes.
///
/// Memory comes from `StoragePool`, so a training step that repeats shapes asks the system for nothing.
final class Storage {
    static let alignment = 64

    let elementType: ElementType
    let count: Int
    let base: UnsafeMutablePointer<Float>

    /// Uninitialised memory for `count` entries.
    init(count: Int, elementType: ElementType = .float32) {
        precondition(count >= 0, "negative count")
        self.elementType = elementType
        self.count = count
        base = StoragePool.shared.take(count: count)
    }

    deinit {
        StoragePool.shared.give(base, count: count)
    }
}
