import Tensors

/// y = x·Wᵀ + b, with or without b. W is (out, in), as in PyTorch.
public final class Linear: Module {
    /// W, [out, in].
    public let weight: Parameter
    /// b, [out]; nil: there is none.
    public let bias: Parameter?
    /// Whether y has b added. Of layers whose results are added up one does.
    public var addsBias = true
    /// Whether W is a parameter of another module.
    private let sharesWeight: Bool
    /// What the products round their factors to; nil: as all products do.
    private let precision: Precision?

    private struct Saved {
        let input: MatrixFactor
        let weight: MatrixFactor
    }
    private var saved: Saved?

    public init(inputSize: Int, outputSize: Int, hasBias: Bool = false, precision: Precision? = nil) {
        weight = Parameter(shape: [outputSize, inputSize])
        bias = hasBias ? Parameter(shape: [outputSize]) : nil
        sharesWeight = false
        self.precision = precision
    }

    /// A layer whose W is another module's, which gets the sum of both gradients.
    public init(sharing weight: Parameter) {
        self.weight = weight
        bias = nil
        sharesWeight = true
        precision = nil
    }

    public var inputSize: Int { weight.columns }
    public var outputSize: Int { weight.rows }
    public var parameters: [(name: String, parameter: Parameter)] {
        var parameters: [(name: String, parameter: Parameter)] = sharesWeight ? [] : [("weight", weight)]
        if let bias { parameters.append(("bias", bias)) }
        return parameters
    }

    /// - Parameter x: (T, in); kept by reference until `backward`, so it must not change.
    /// - Returns: y, (T, out)
    public func forward(_ x: Tensor, savingForBackward: Bool) -> Tensor {
        forward(factor(x), savingForBackward: savingForBackward)
    }

    /// As above, of what `factor` gave.
    func forward(_ x: MatrixFactor, savingForBackward: Bool) -> Tensor {
        let weight = factor(weight.value)
        saved = savingForBackward ? Saved(input: x, weight: weight) : nil
        let y = Tensor(rows: x.rows, columns: outputSize)
        GEMM.multiply(x, weight, transposeB: true, into: y)
        if let bias, addsBias { Rows.addVector(bias.value, to: y) }
        return y
    }

    /// Adds to the gradients of W and b.
    /// - Parameter outputGradient: dL/dy, (T, out)
    /// - Returns: dL/dx, (T, in)
    public func backward(_ outputGradient: Tensor) -> Tensor {
        let inputGradient = Tensor(rows: outputGradient.rows, columns: inputSize)
        backward(outputGradient, into: inputGradient)
        return inputGradient
    }

    /// As above.
    /// - Parameters:
    ///   - inputGradient: becomes dL/dx, or has it added, (T, in).
    ///   - adds: whether it is added.
    public func backward(_ outputGradient: Tensor, into inputGradient: Tensor, adds: Bool = false) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        if let bias, addsBias { Rows.addSum(of: outputGradient, into: bias.gradient) }
        let outputGradient = factor(outputGradient)
        addWeightGradient(outputGradient, input: saved.input)
        GEMM.multiply(outputGradient, saved.weight, into: inputGradient, beta: adds ? 1 : 0)
    }
}

extension Linear {
    /// A matrix as this layer's products take it.
    func factor(_ matrix: Tensor) -> MatrixFactor { MatrixFactor(matrix, precision: precision ?? .current) }

    /// dL/dW += (dL/dy)ᵀ·x
    func addWeightGradient(_ outputGradient: MatrixFactor, input: MatrixFactor) {
        GEMM.multiply(outputGradient, transposeA: true, input, into: weight.gradient, beta: 1)
    }
}
