import Tensors

/// A trained matrix or vector with its gradient. Memory is taken at first use, so a model can be described, and its
/// experts spread over ranks, before any weight exists.
public final class Parameter {
    /// The shape as Hugging Face checkpoints have it: [rows, columns] or [entries].
    public let shape: [Int]
    private var storedValue: Tensor?
    private var storedGradient: Tensor?

    public init(shape: [Int]) {
        precondition(shape.count == 1 || shape.count == 2, "a parameter is a vector or a matrix")
        self.shape = shape
    }

    public var rows: Int { shape.count == 2 ? shape[0] : 1 }
    public var columns: Int { shape[shape.count - 1] }
    public var count: Int { rows * columns }

    /// Whether the value has been given memory.
    public var isMaterialized: Bool { storedValue != nil }

    /// The weights, zero until they are set; (rows, columns). Assigning moves the parameter to other memory, for example
    /// a part of one buffer for all.
    public var value: Tensor {
        get {
            if let storedValue { return storedValue }
            let zero = Tensor(rows: rows, columns: columns, repeating: 0)
            storedValue = zero
            return zero
        }
        set {
            precondition(newValue.rows == rows && newValue.columns == columns, "shapes differ")
            storedValue = newValue
        }
    }

    /// The gradient that backward passes add to; (rows, columns).
    public var gradient: Tensor {
        get {
            if let storedGradient { return storedGradient }
            let zero = Tensor(rows: rows, columns: columns, repeating: 0)
            storedGradient = zero
            return zero
        }
        set {
            precondition(newValue.rows == rows && newValue.columns == columns, "shapes differ")
            storedGradient = newValue
        }
    }

    /// AdamW decays matrices only, not norms.
    public var decays: Bool { shape.count >= 2 }
}
