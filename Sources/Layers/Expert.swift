import Tensors

/// A SwiGLU feed-forward network (Shazeer 2020, arXiv:2002.05202): y = (silu(x·w1ᵀ) ⊙ (x·w3ᵀ))·w2ᵀ.
public final class Expert: Module {
    /// [F, D]
    private let w1: Linear
    /// [D, F]
    private let w2: Linear
    /// [F, D]
    private let w3: Linear

    private struct Saved {
        let input: Tensor
        let gate: Tensor
        let up: Tensor
    }
    private var saved: Saved?

    public init(hiddenSize: Int, width: Int) {
        w1 = Linear(inputSize: hiddenSize, outputSize: width)
        w2 = Linear(inputSize: width, outputSize: hiddenSize)
        w3 = Linear(inputSize: hiddenSize, outputSize: width)
    }

    /// F.
    public var width: Int { w1.outputSize }
    public var children: [(name: String, module: any Module)] { [("w1", w1), ("w2", w2), ("w3", w3)] }

    /// - Parameters:
    ///   - x: (R, D); kept by reference until `backward`, so it must not change.
    ///   - y: (R, D), overwritten.
    public func forward(_ x: Tensor, into y: Tensor, savingForBackward: Bool) {
        let gate = Tensor(rows: x.rows, columns: width)
        let up = Tensor(rows: x.rows, columns: width)
        w1.apply(x, into: gate)
        w3.apply(x, into: up)
        saved = savingForBackward ? Saved(input: x, gate: gate, up: up) : nil
        let hidden = savingForBackward ? Tensor(rows: x.rows, columns: width) : gate
        SwiGLU.forward(gate: gate, up: up, into: hidden)
        w2.apply(hidden, into: y)
    }

    /// Adds to the weights' gradients.
    /// - Parameters:
    ///   - outputGradient: dL/dy, (R, D)
    ///   - inputGradient: becomes dL/dx, (R, D).
    public func backward(_ outputGradient: Tensor, into inputGradient: Tensor) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let hidden = Tensor(rows: outputGradient.rows, columns: width)
        w2.applyTransposed(outputGradient, into: hidden, adds: false)
        // The hidden rows are computed again rather than kept: they are a third of the activations, and cost no GEMM.
        SwiGLU.backward(
            gate: saved.gate, up: saved.up, outputGradient: hidden, gateGradient: saved.gate, upGradient: saved.up,
            output: hidden)
        w2.addWeightGradient(outputGradient, input: hidden)
        w1.addWeightGradient(saved.gate, input: saved.input)
        w3.addWeightGradient(saved.up, input: saved.input)
        w1.applyTransposed(saved.gate, into: inputGradient, adds: false)
        w3.applyTransposed(saved.up, into: inputGradient, adds: true)
    }
}
