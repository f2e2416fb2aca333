import Tensors

/// A row of a table for each token.
public final class Embedding: Module {
    /// The table, [V, D].
    public let weight: Parameter
    /// The token whose row is not trained (`padding_idx` in PyTorch).
    public let paddingToken: Int?
    private var savedTokens: [Int32]?

    public init(vocabularySize: Int, hiddenSize: Int, paddingToken: Int? = nil) {
        weight = Parameter(shape: [vocabularySize, hiddenSize])
        self.paddingToken = paddingToken
    }

    public var parameters: [(name: String, parameter: Parameter)] { [("weight", weight)] }

    /// - Parameter tokens: T entries, each below V.
    /// - Returns: (T, D)
    public func forward(_ tokens: [Int32], savingForBackward: Bool) -> Tensor {
        savedTokens = savingForBackward ? tokens : nil
        let y = Tensor(rows: tokens.count, columns: weight.columns)
        Rows.gather(weight.value, indices: tokens, into: y)
        return y
    }

    /// Adds to the table's gradient.
    /// - Parameter outputGradient: dL/dy, (T, D)
    public func backward(_ outputGradient: Tensor) {
        guard let savedTokens else { preconditionFailure("backward without a forward pass that saved for it") }
        self.savedTokens = nil
        let scales = paddingToken.map { padding in savedTokens.map { Int($0) == padding ? Float(0) : 1 } }
        Rows.scatterAdd(outputGradient, indices: savedTokens, scales: scales, into: weight.gradient)
    }
}
