import Tensors

/// Divides each row by its root mean square and scales the columns (Zhang and Sennrich 2019, arXiv:1910.07467):
/// y = w ⊙ x / √(mean(x²) + ε).
public final class RMSNormLayer: Module {
    /// w, [D]; ones at first in a trained model, zeros until they are set.
    public let weight: Parameter
    public let epsilon: Float

    private struct Saved {
        let input: Tensor
        let inverseRMS: Tensor
    }
    private var saved: Saved?

    public init(size: Int, epsilon: Float) {
        weight = Parameter(shape: [size])
        self.epsilon = epsilon
    }

    public var parameters: [(name: String, parameter: Parameter)] { [("weight", weight)] }

    /// What the last forward pass that saved for backward got, until backward.
    public var savedInput: Tensor? { saved?.input }

    /// - Parameters:
    ///   - x: (T, D); kept by reference until `backward`, so it must not change.
    ///   - meanSquares: mean(x²) of each row, where x is a part of longer rows; nil: it is all of them.
    /// - Returns: y, (T, D)
    public func forward(_ x: Tensor, meanSquares: [Float]? = nil, savingForBackward: Bool) -> Tensor {
        let y = Tensor(rows: x.rows, columns: x.columns)
        let inverseRMS = Tensor(rows: x.rows, columns: 1)
        RMSNorm.forward(
            x, weight: weight.value, epsilon: epsilon, into: y, inverseRMS: inverseRMS, meanSquares: meanSquares)
        saved = savingForBackward ? Saved(input: x, inverseRMS: inverseRMS) : nil
        return y
    }

    /// Adds to the weight's gradient.
    /// - Parameters:
    ///   - outputGradient: dL/dy, (T, D)
    ///   - inputGradient: has dL/dx added, (T, D).
    public func backward(_ outputGradient: Tensor, addingTo inputGradient: Tensor) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        RMSNorm.backward(
            saved.input, weight: weight.value, inverseRMS: saved.inverseRMS, outputGradient: outputGradient,
            inputGradient: inputGradient, weightGradient: weight.gradient)
    }

    /// The first half of `backward`, where x is a part of longer rows: adds to the weight's gradient.
    /// - Parameter outputGradient: dL/dy, (T, D)
    /// - Returns: Σ dL/dy ⊙ w ⊙ x/RMS of each row, over the columns here.
    public func weightBackward(_ outputGradient: Tensor) -> [Float] {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        return RMSNorm.weightBackward(
            saved.input, weight: weight.value, inverseRMS: saved.inverseRMS, outputGradient: outputGradient,
            weightGradient: weight.gradient)
    }

    /// The second half.
    /// - Parameters:
    ///   - productMeans: of what the first half sums, over all columns of the longer rows.
    ///   - inputGradient: has dL/dx added, (T, D).
    public func inputBackward(_ outputGradient: Tensor, productMeans: [Float], addingTo inputGradient: Tensor) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        RMSNorm.inputBackward(
            saved.input, weight: weight.value, inverseRMS: saved.inverseRMS, outputGradient: outputGradient,
            productMeans: productMeans, inputGradient: inputGradient)
    }
}
