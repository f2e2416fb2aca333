import Tensors

/// Neighbouring neurons of one expert, and their gradient: those that this rank computes with, or masters of some that it
/// owns only.
///
/// Neuron-major: neuron f has 3·D entries in a row: row f of w1, row f of w3, column f of w2. So a range of neurons is one
/// block of memory in all three matrices, and moving it is one copy.
struct ExpertShard {
    /// Which neurons of the expert.
    let neurons: Range<Int>
    /// Weights, (n, 3·D).
    let value: Tensor
    private var gradientMemory: ShardGradient

    init(neurons: Range<Int>, hiddenSize: Int) {
        self.neurons = neurons
        value = Tensor(rows: neurons.count, columns: 3 * hiddenSize, repeating: 0)
        gradientMemory = ShardGradient(rows: neurons.count, columns: 3 * hiddenSize)
    }

    /// Weights that are not set yet, without a gradient.
    init(withoutGradient neurons: Range<Int>, hiddenSize: Int) {
        self.neurons = neurons
        value = Tensor(rows: neurons.count, columns: 3 * hiddenSize)
        gradientMemory = ShardGradient(rows: 0, columns: 3 * hiddenSize)
    }

    /// dL/dvalue, (n, 3·D). Without rows while the expert migrates: between two steps gradients are dead.
    var gradient: Tensor { gradientMemory.value }

    /// Sets the gradient to zero.
    func clearGradient() { gradientMemory.clear() }

    /// Gives the gradient's memory back.
    mutating func dropGradient() { gradientMemory = ShardGradient(rows: 0, columns: value.columns) }

    /// Gives the gradient memory, unless it has some; zeros.
    mutating func makeGradient() {
        if gradientMemory.rows == 0 { gradientMemory = ShardGradient(rows: value.rows, columns: value.columns) }
    }

    /// The rows of `value` that hold `range`, which lies within `neurons`.
    func value(of range: Range<Int>) -> Tensor { value.rows(local(range)) }

    /// The rows of `gradient` that hold `range`, which lies within `neurons`.
    func gradient(of range: Range<Int>) -> Tensor { gradient.rows(local(range)) }

    private func local(_ range: Range<Int>) -> Range<Int> {
        range.lowerBound - neurons.lowerBound..<range.upperBound - neurons.lowerBound
    }
}

/// A gradient, zero at first. Setting it to zero writes nothing: the first products of a step overwrite what is there, and it is
/// filled with zeros only where it is read before.
private final class ShardGradient {
    private let memory: Tensor
    private var isClear = true

    init(rows: Int, columns: Int) { memory = Tensor(rows: rows, columns: columns) }

    var rows: Int { memory.rows }

    /// The entries.
    var value: Tensor {
        if isClear { memory.fill(0) }
        isClear = false
        return memory
    }

    func clear() { isClear = true }

    /// Lets `body` add to all entries: to what is there times the factor that it gets, 0 or 1.
    func add(_ body: (Tensor, _ beta: Float) throws -> Void) rethrows {
        try body(memory, isClear ? 0 : 1)
        isClear = false
    }
}

/// The three matrices in a block of neurons, (n, D) each: views of (n, 3·D).
struct NeuronMatrices<Matrix> {
    let w1: Matrix
    let w3: Matrix
    /// w2 transposed.
    let w2: Matrix

    private init(hiddenSize: Int, _ columns: (Range<Int>) -> Matrix) {
        w1 = columns(0..<hiddenSize)
        w3 = columns(hiddenSize..<2 * hiddenSize)
        w2 = columns(2 * hiddenSize..<3 * hiddenSize)
    }
}

extension NeuronMatrices<Tensor> {
    init(_ block: Tensor) { self.init(hiddenSize: block.columns / 3, block.columns) }
}

extension NeuronMatrices<MatrixFactor> {
    init(_ block: MatrixFactor) { self.init(hiddenSize: block.columns / 3, block.columns) }
}

extension ExpertShard {
    /// What backward needs of a forward pass over R rows.
    struct Activations {
        let input: MatrixFactor
        let gate: Tensor
        let up: Tensor
        let weights: NeuronMatrices<MatrixFactor>
    }

    /// y = (silu(x·w1ᵀ) ⊙ (x·w3ᵀ))·w2ᵀ over these neurons: a partial sum of the expert's output.
    /// - Parameters:
    ///   - x: (R, D)
    ///   - y: (R, D), overwritten.
    ///   - betweenProducts: called often, so that messages go on meanwhile.
    /// - Returns: what backward needs; nil unless it is to be saved.
    func forward(
        _ x: Tensor, into y: Tensor, savingForBackward: Bool, betweenProducts: () throws -> Void
    ) throws -> Activations? {
        let weights = NeuronMatrices(MatrixFactor(value))
        let input = MatrixFactor(x)
        let gate = Tensor(rows: x.rows, spreadColumns: neurons.count)
        let up = Tensor(rows: x.rows, spreadColumns: neurons.count)
        GEMM.multiply(input, weights.w1, transposeB: true, into: gate)
        try betweenProducts()
        GEMM.multiply(input, weights.w3, transposeB: true, into: up)
        try betweenProducts()
        let hidden = savingForBackward ? Tensor(rows: x.rows, spreadColumns: neurons.count) : gate
        SwiGLU.forward(gate: gate, up: up, into: hidden)
        GEMM.multiply(MatrixFactor(hidden), weights.w2, into: y)
        try betweenProducts()
        return savingForBackward ? Activations(input: input, gate: gate, up: up, weights: weights) : nil
    }

    /// Adds to `gradient`; overwrites the activations.
    /// - Parameters:
    ///   - dy: (R, D)
    ///   - dx: (R, D), overwritten.
    ///   - betweenProducts: as in `forward`.
    func backward(
        _ dy: Tensor, _ saved: Activations, into dx: Tensor, betweenProducts: () throws -> Void
    ) throws {
        let weights = saved.weights
        let hidden = Tensor(rows: dy.rows, spreadColumns: neurons.count)
        let dy = MatrixFactor(dy)
        GEMM.multiply(dy, weights.w2, transposeB: true, into: hidden)
        try betweenProducts()
        // The hidden rows are computed again rather than kept: they are a third of the activations, and cost no GEMM.
        SwiGLU.backward(
            gate: saved.gate, up: saved.up, outputGradient: hidden, gateGradient: saved.gate, upGradient: saved.up,
            output: hidden)
        let (gate, up) = (MatrixFactor(saved.gate), MatrixFactor(saved.up))
        try gradientMemory.add { gradient, beta in
            let gradients = NeuronMatrices(gradient)
            GEMM.multiply(MatrixFactor(hidden), transposeA: true, dy, into: gradients.w2, beta: beta)
            try betweenProducts()
            GEMM.multiply(gate, transposeA: true, saved.input, into: gradients.w1, beta: beta)
            try betweenProducts()
            GEMM.multiply(up, transposeA: true, saved.input, into: gradients.w3, beta: beta)
            try betweenProducts()
        }
        GEMM.multiply(gate, weights.w1, into: dx)
        try betweenProducts()
        GEMM.multiply(up, weights.w3, into: dx, beta: 1)
        try betweenProducts()
    }
}
