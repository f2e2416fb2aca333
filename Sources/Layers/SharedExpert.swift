import Tensors

/// An expert that every token goes to, beside those that the router chooses (DeepSeekMoE, Dai et al. 2024, arXiv:2401.06066):
/// y += e(x), or with a gate as Qwen-MoE's y += σ(x·gᵀ) · e(x).
///
/// It is no group of experts, but part of what all tokens go through, as dense networks are. The gate is whole wherever the expert is.
public final class SharedExpert {
    private let name: String
    private var expert: any FeedForward
    /// g, [1, D]; in fp32, as routers are.
    private let gate: Linear?

    private struct Saved {
        /// σ of each token.
        let weights: [Float]
        /// e(x), (T, D).
        let output: Tensor
    }
    /// Of a gate.
    private var saved: Saved?

    /// - Parameters:
    ///   - name: of the expert among the parts of its block; a gate's is `NAME_gate`.
    ///   - width: F
    public init(name: String, hiddenSize: Int, width: Int, names: ExpertNames = .projections, hasGate: Bool) {
        self.name = name
        expert = Expert(hiddenSize: hiddenSize, width: width, names: names)
        gate = hasGate ? Linear(inputSize: hiddenSize, outputSize: 1, precision: .float32) : nil
    }

    /// For the block that has it.
    /// - Returns: whether there is a part called `name` that can be such a module, and is now.
    func replaceChild(_ name: String, with module: any Module) -> Bool {
        guard name == self.name, let expert = module as? any FeedForward else { return false }
        self.expert = expert
        return true
    }

    /// For the block that has it.
    var children: [(name: String, module: any Module)] {
        var children: [(name: String, module: any Module)] = [(name, expert)]
        if let gate { children.append(("\(name)_gate", gate)) }
        return children
    }

    /// - Parameters:
    ///   - x: (T, D); kept by reference until `backward`, so it must not change.
    ///   - tokens: as in `FeedForward`.
    ///   - y: has the result added, (T, D).
    func forward(_ x: Tensor, tokens: Int, addingTo y: Tensor, savingForBackward: Bool) throws {
        let output = try expert.forward(x, tokens: tokens, savingForBackward: savingForBackward)
        saved = nil
        guard let gate else { return Rows.add(output, into: y) }
        let logits = gate.forward(x, savingForBackward: savingForBackward)
        Sigmoid.forward(logits, into: logits)
        let weights = logits.array
        if savingForBackward { saved = Saved(weights: weights, output: output) }
        let weighted = savingForBackward ? Tensor(rows: x.rows, columns: x.columns) : output
        Rows.scale(output, by: weights, into: weighted)
        Rows.add(weighted, into: y)
    }

    /// Adds to the weights' gradients.
    /// - Parameters:
    ///   - outputGradient: dL/dy, (T, D)
    ///   - inputGradient: has dL/dx added, (T, D).
    func backward(_ outputGradient: Tensor, addingTo inputGradient: Tensor) throws {
        guard let gate else { return Rows.add(try expert.backward(outputGradient), into: inputGradient) }
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        // σ' = σ·(1 − σ), and dL/dσ of a token is the product of dy with the expert's output.
        let gateGradient = zip(saved.weights, Rows.dots(outputGradient, saved.output)).map { $0 * (1 - $0) * $1 }
        gate.backward(
            Tensor(gateGradient, rows: outputGradient.rows, columns: 1), into: inputGradient, adds: true)
        let expertGradient = saved.output  // Needed no more.
        Rows.scale(outputGradient, by: saved.weights, into: expertGradient)
        Rows.add(try expert.backward(expertGradient), into: inputGradient)
    }
}
