import Tensors

/// A feed-forward network that all tokens go through, wherever its neurons are: in this process (`Expert`), or spread over ranks that
/// have some of the tokens each.
public protocol FeedForward: Module {
    /// - Parameters:
    ///   - x: rows of the own tokens, (T, D); kept by reference until `backward`, so it must not change.
    ///   - tokens: of all ranks among which the neurons are spread.
    /// - Returns: y, (T, D)
    func forward(_ x: Tensor, tokens: Int, savingForBackward: Bool) throws -> Tensor

    /// Adds to the weights' gradients.
    /// - Parameter outputGradient: dL/dy, (T, D)
    /// - Returns: dL/dx, (T, D)
    func backward(_ outputGradient: Tensor) throws -> Tensor
}

extension Expert: FeedForward {
    public func forward(_ x: Tensor, tokens: Int, savingForBackward: Bool) -> Tensor {
        let y = Tensor(rows: x.rows, columns: x.columns)
        forward(x, into: y, savingForBackward: savingForBackward)
        return y
    }

    public func backward(_ outputGradient: Tensor) -> Tensor {
        let inputGradient = Tensor(rows: outputGradient.rows, columns: outputGradient.columns)
        backward(outputGradient, into: inputGradient)
        return inputGradient
    }
}
