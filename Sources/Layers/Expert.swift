import Tensors

/// What checkpoints call the matrices of a SwiGLU feed-forward network.
public struct ExpertNames: Sendable, Equatable {
    /// w1
    public let gate: String
    /// w2
    public let down: String
    /// w3
    public let up: String

    public init(gate: String, down: String, up: String) {
        (self.gate, self.down, self.up) = (gate, down, up)
    }

    /// Mixtral's: `w1`, `w2`, `w3`.
    public static let numbered = ExpertNames(gate: "w1", down: "w2", up: "w3")
    /// Most others': `gate_proj`, `down_proj`, `up_proj`.
    public static let projections = ExpertNames(gate: "gate_proj", down: "down_proj", up: "up_proj")
}

/// A SwiGLU feed-forward network (Shazeer 2020, arXiv:2002.05202): y = (silu(x·w1ᵀ) ⊙ (x·w3ᵀ))·w2ᵀ.
public final class Expert: Module {
    /// [F, D]
    private let w1: Linear
    /// [D, F]
    private let w2: Linear
    /// [F, D]
    private let w3: Linear
    public let names: ExpertNames

    private struct Saved {
        let input: MatrixFactor
        let gate: Tensor
        let up: Tensor
        let weights: Weights
    }
    private struct Weights {
        let w1: MatrixFactor
        let w2: MatrixFactor
        let w3: MatrixFactor
    }
    private var saved: Saved?

    public init(hiddenSize: Int, width: Int, names: ExpertNames = .numbered) {
        self.names = names
        w1 = Linear(inputSize: hiddenSize, outputSize: width)
        w2 = Linear(inputSize: width, outputSize: hiddenSize)
        w3 = Linear(inputSize: hiddenSize, outputSize: width)
    }

    /// A network of some of the neurons, without weights yet: what those of all neurons give adds up to what this one gives.
    public func part(width: Int) -> Expert { Expert(hiddenSize: hiddenSize, width: width, names: names) }

    public var hiddenSize: Int { w1.inputSize }
    /// F.
    public var width: Int { w1.outputSize }
    public var children: [(name: String, module: any Module)] {
        [(names.gate, w1), (names.down, w2), (names.up, w3)]
    }

    /// - Parameters:
    ///   - x: (R, D); kept by reference until `backward`, so it must not change.
    ///   - y: (R, D), overwritten.
    public func forward(_ x: Tensor, into y: Tensor, savingForBackward: Bool) {
        let gate = Tensor(rows: x.rows, spreadColumns: width)
        let up = Tensor(rows: x.rows, spreadColumns: width)
        let weights = Weights(
            w1: w1.factor(w1.weight.value), w2: w2.factor(w2.weight.value), w3: w3.factor(w3.weight.value))
        let input = MatrixFactor(x)
        GEMM.multiply(input, weights.w1, transposeB: true, into: gate)
        GEMM.multiply(input, weights.w3, transposeB: true, into: up)
        saved = savingForBackward ? Saved(input: input, gate: gate, up: up, weights: weights) : nil
        let hidden = savingForBackward ? Tensor(rows: x.rows, spreadColumns: width) : gate
        SwiGLU.forward(gate: gate, up: up, into: hidden)
        GEMM.multiply(MatrixFactor(hidden), weights.w2, transposeB: true, into: y)
    }

    /// Adds to the weights' gradients.
    /// - Parameters:
    ///   - outputGradient: dL/dy, (R, D)
    ///   - inputGradient: becomes dL/dx, (R, D).
    public func backward(_ outputGradient: Tensor, into inputGradient: Tensor) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let hidden = Tensor(rows: outputGradient.rows, spreadColumns: width)
        let outputGradient = MatrixFactor(outputGradient)
        GEMM.multiply(outputGradient, saved.weights.w2, into: hidden)
        // The hidden rows are computed again rather than kept: they are a third of the activations, and cost no GEMM.
        SwiGLU.backward(
            gate: saved.gate, up: saved.up, outputGradient: hidden, gateGradient: saved.gate, upGradient: saved.up,
            output: hidden)
        let (gate, up) = (MatrixFactor(saved.gate), MatrixFactor(saved.up))
        w2.addWeightGradient(outputGradient, input: MatrixFactor(hidden))
        w1.addWeightGradient(gate, input: saved.input)
        w3.addWeightGradient(up, input: saved.input)
        GEMM.multiply(gate, saved.weights.w1, into: inputGradient)
        GEMM.multiply(up, saved.weights.w3, into: inputGradient, beta: 1)
    }
}
