import Tensors

/// Causal self-attention over whole sequences, wherever its heads are: in this process (`SelfAttention`), or spread over ranks that
/// have some of the tokens each.
public protocol Attention: Module {
    /// Which tokens of `count`, sequence after sequence, this rank has rows of: all, unless other ranks have some.
    func ownTokens(of count: Int) -> Range<Int>

    /// - Parameters:
    ///   - x: rows of the own tokens, (T, D); kept by reference until `backward`, so it must not change.
    ///   - sequences: of all tokens.
    ///   - sequenceLength: tokens of each.
    ///   - rotary: of d entries a head, for as many positions at least.
    /// - Returns: y, (T, D)
    func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor

    /// Adds to the weights' gradients.
    /// - Parameter outputGradient: dL/dy, (T, D)
    /// - Returns: dL/dx, (T, D)
    func backward(_ outputGradient: Tensor) throws -> Tensor
}

extension Attention {
    public func ownTokens(of count: Int) -> Range<Int> { 0..<count }
}

extension SelfAttention: Attention {}
