import Randomness
import Tensors

/// Compares gradients with central differences of a loss.
public struct GradientCheck {
    /// A tensor that the loss depends on, and dL/dvalue as backward found it.
    public struct Subject {
        public let name: String
        public let value: Tensor
        public let gradient: Tensor

        public init(name: String, value: Tensor, gradient: Tensor) {
            self.name = name
            self.value = value
            self.gradient = gradient
        }
    }

    private let seed: UInt64
    private let step: Float
    private let tolerance: Double
    private let entries: Int
    private let isFourthOrder: Bool

    /// - Parameters:
    ///   - step: half the distance of the two points, in the value's units.
    ///   - tolerance: of the difference, relative to the largest entry of the gradient. fp32 leaves about 1e-7 · |L| / step.
    ///   - entries: how many are tried of each tensor.
    ///   - isFourthOrder: whether the differences over one and two steps are put together so that their error falls with the fourth
    ///     power of the step: for losses of which a short step leaves but rounding.
    public init(
        seed: UInt64, step: Float = 1e-2, tolerance: Double = 3e-3, entries: Int = 40, isFourthOrder: Bool = false
    ) {
        self.isFourthOrder = isFourthOrder
        self.seed = seed
        self.step = step
        self.tolerance = tolerance
        self.entries = entries
    }

    /// - Parameter loss: runs the forward pass with the values as they are.
    /// - Returns: what differs, in words.
    public func failures(of subjects: [Subject], loss: () throws -> Double) rethrows -> [String] {
        var failures = [String]()
        for subject in subjects {
            let (value, gradient) = (subject.value, subject.gradient)
            let largest = gradient.array.reduce(0) { max($0, abs($1)) }
            if !(largest > 0) { failures.append("\(subject.name) has no gradient, seed \(seed)") }
            let generator = CounterBasedGenerator(seed: seed, purpose: "entries of \(subject.name)")
            for trial in 0..<min(entries, value.count) {
                let index =
                    value.count <= entries ? trial : generator.integer(at: UInt64(trial), below: value.count)
                let (row, column) = (index / value.columns, index % value.columns)
                let expected = try derivative(of: loss, in: value, row: row, column: column)
                let found = Double(gradient[row, column])
                if !(abs(found - expected) <= tolerance * Double(largest)) {
                    failures.append(
                        "\(subject.name)[\(row), \(column)]: \(found), by differences \(expected), largest "
                            + "\(largest), seed \(seed)")
                }
            }
        }
        return failures
    }

    private func derivative(
        of loss: () throws -> Double, in value: Tensor, row: Int, column: Int
    ) rethrows -> Double {
        let near = try difference(of: loss, in: value, row: row, column: column, step: step)
        if !isFourthOrder { return near }
        return try (4 * near - difference(of: loss, in: value, row: row, column: column, step: 2 * step)) / 3
    }

    private func difference(
        of loss: () throws -> Double, in value: Tensor, row: Int, column: Int, step: Float
    ) rethrows -> Double {
        let original = value[row, column]
        defer { value[row, column] = original }
        value[row, column] = original + step
        let (above, lossAbove) = (value[row, column], try loss())
        value[row, column] = original - step
        let (below, lossBelow) = (value[row, column], try loss())
        return (lossAbove - lossBelow) / (Double(above) - Double(below))
    }
}

extension Tensor {
    /// Normal entries with standard deviation `scale`.
    public static func normal(
        _ rows: Int, _ columns: Int, seed: UInt64, _ purpose: String, scale: Double = 1
    ) -> Tensor {
        let generator = CounterBasedGenerator(seed: seed, purpose: purpose)
        return Tensor(
            (0..<rows * columns).map { Float(scale * generator.normal(at: UInt64($0))) }, rows: rows, columns: columns)
    }

    /// Σ self ⊙ other, in fp64: a loss whose gradient is `other`.
    public func product(with other: Tensor) -> Double {
        zip(array, other.array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
}
