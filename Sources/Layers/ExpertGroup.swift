import Tensors

/// The experts of one layer, wherever they are: in this process (`LocalExperts`), or spread over ranks.
public protocol ExpertGroup: Module {
    /// E.
    var expertCount: Int { get }
    /// F of each expert.
    var widths: [Int] { get }
    /// D.
    var hiddenSize: Int { get }
    /// What checkpoints call an expert's matrices.
    var names: ExpertNames { get }
    /// The ranks whose tokens come to the experts together; nil: there is but this process.
    var tokenGroup: (any TokenGroup)? { get }

    /// The weighted sum of the experts' outputs for each token.
    /// - Parameters:
    ///   - x: (T, D)
    ///   - routing: rows for these T tokens.
    ///   - savingForBackward: keep what `backward` needs.
    /// - Returns: y, (T, D)
    func forward(_ x: Tensor, routing: Routing, savingForBackward: Bool) throws -> Tensor

    /// Adds to the parameters' gradients.
    /// - Parameter outputGradient: dL/dy, (T, D)
    /// - Returns: dL/dx, (T, D), and dL/dweight of each routing row, N entries.
    func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float])
}

extension ExpertGroup {
    public var names: ExpertNames { .numbered }
    public var tokenGroup: (any TokenGroup)? { nil }
}
