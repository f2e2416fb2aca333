import Randomness
import Tensors
import Testing

/// Compares gradients with central differences of a loss.
struct GradientCheck {
    /// A tensor that the loss depends on, and dL/dvalue as backward found it.
    struct Subject {
        let name: String
        let value: Tensor
        let gradient: Tensor
    }

    let seed: UInt64
    /// Half the distance of the two points, in the value's units.
    var step: Float = 1e-2
    /// Of the difference, relative to the largest entry of the gradient. fp32 leaves about 1e-7 · |L| / step.
    var tolerance = 3e-3
    /// Entries that are tried of each tensor.
    var entries = 40

    /// - Parameter loss: runs the forward pass with the values as they are.
    func expect(
        _ subjects: [Subject], sourceLocation: SourceLocation = #_sourceLocation, loss: () throws -> Double
    ) rethrows {
        for subject in subjects {
            let (value, gradient) = (subject.value, subject.gradient)
            let largest = gradient.array.reduce(0) { max($0, abs($1)) }
            #expect(largest > 0, "\(subject.name) has no gradient, seed \(seed)", sourceLocation: sourceLocation)
            let generator = CounterBasedGenerator(seed: seed, purpose: "entries of \(subject.name)")
            for trial in 0..<min(entries, value.count) {
                let index =
                    value.count <= entries ? trial : generator.integer(at: UInt64(trial), below: value.count)
                let (row, column) = (index / value.columns, index % value.columns)
                let original = value[row, column]
                value[row, column] = original + step
                let (above, lossAbove) = (value[row, column], try loss())
                value[row, column] = original - step
                let (below, lossBelow) = (value[row, column], try loss())
                value[row, column] = original
                let expected = (lossAbove - lossBelow) / (Double(above) - Double(below))
                let found = Double(gradient[row, column])
                #expect(
                    abs(found - expected) <= tolerance * Double(largest),
                    "\(subject.name)[\(row), \(column)]: \(found), by differences \(expected), seed \(seed)",
                    sourceLocation: sourceLocation)
            }
        }
    }
}

extension Tensor {
    /// Normal entries with standard deviation `scale`.
    static func normal(_ rows: Int, _ columns: Int, seed: UInt64, _ purpose: String, scale: Double = 1) -> Tensor {
        let generator = CounterBasedGenerator(seed: seed, purpose: purpose)
        return Tensor(
            (0..<rows * columns).map { Float(scale * generator.normal(at: UInt64($0))) }, rows: rows, columns: columns)
    }

    /// Σ self ⊙ other, in fp64: a loss whose gradient is `other`.
    func product(with other: Tensor) -> Double {
        zip(array, other.array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
}
