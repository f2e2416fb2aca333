import Tensors

/// y = x·Wᵀ, without a bias. W is (out, in), as in PyTorch.
public final class Linear: Module {
    /// W, [out, in].
    public let weight: Parameter
    /// What the products round their factors to; nil: as all products do.
    private let precision: Precision?
    private var savedInput: Tensor?

    public init(inputSize: Int, outputSize: Int, precision: Precision? = nil) {
        weight = Parameter(shape: [outputSize, inputSize])
        self.precision = precision
    }

    public var inputSize: Int { weight.columns }
    public var outputSize: Int { weight.rows }
    public var parameters: [(name: String, parameter: Parameter)] { [("weight", weight)] }

    /// - Parameter x: (T, in); kept by reference until `backward`, so it must not change.
    /// - Returns: y, (T, out)
    public func forward(_ x: Tensor, savingForBackward: Bool) -> Tensor {
        savedInput = savingForBackward ? x : nil
        let y = Tensor(rows: x.rows, columns: outputSize)
        apply(x, into: y)
        return y
    }

    /// Adds to the weight's gradient.
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
        guard let savedInput else { preconditionFailure("backward without a forward pass that saved for it") }
        self.savedInput = nil
        addWeightGradient(outputGradient, input: savedInput)
        applyTransposed(outputGradient, into: inputGradient, adds: adds)
    }
}

/// The three products, for layers that keep what backward needs themselves.
extension Linear {
    /// y = x·Wᵀ
    func apply(_ x: Tensor, into y: Tensor) {
        GEMM.multiply(x, weight.value, transposeB: true, into: y, precision: precision ?? .current)
    }

    /// dL/dx = dL/dy·W, written or added.
    func applyTransposed(_ outputGradient: Tensor, into inputGradient: Tensor, adds: Bool) {
        GEMM.multiply(
            outputGradient, weight.value, into: inputGradient, beta: adds ? 1 : 0, precision: precision ?? .current)
    }

    /// dL/dW += (dL/dy)ᵀ·x
    func addWeightGradient(_ outputGradient: Tensor, input: Tensor) {
        GEMM.multiply(
            outputGradient, transposeA: true, input, into: weight.gradient, beta: 1, precision: precision ?? .current)
    }
}
