import Layers
import Tensors

/// A model of one's own: learns which token follows which. A table, a layer of experts with a residual connection, and a head.
final class Successor: Module {
    static let vocabularySize = 48
    static let expertCount = 8

    private let table: Embedding
    private let block: SparseMoEBlock
    private let head: Linear

    init(hiddenSize: Int = 32) {
        table = Embedding(vocabularySize: Self.vocabularySize, hiddenSize: hiddenSize)
        block = SparseMoEBlock(
            gate: Router(hiddenSize: hiddenSize, expertCount: Self.expertCount, expertsPerToken: 2),
            experts: LocalExperts(hiddenSize: hiddenSize, widths: [Int](repeating: 64, count: Self.expertCount)))
        head = Linear(inputSize: hiddenSize, outputSize: Self.vocabularySize)
    }

    /// Names of parts make the paths of weights, `block.experts.3.w1.weight`, and what `parallelizeExperts` is told to match.
    var children: [(name: String, module: any Module)] { [("table", table), ("block", block), ("head", head)] }

    /// Adds the gradients of the loss, times `scale`, to those of the parameters.
    /// - Returns: the sum of the tokens' cross-entropies.
    func addGradients(tokens: [Int32], targets: [Int32], scale: Float) throws -> Double {
        let embedded = table.forward(tokens, savingForBackward: true)
        let hidden = try block.forward(embedded, savingForBackward: true)
        Rows.add(embedded, into: hidden)
        let logits = head.forward(hidden, savingForBackward: true)
        let loss = CrossEntropy.forwardBackward(logits: logits, targets: targets, gradientScale: scale)

        let gradient = head.backward(logits)
        let embeddedGradient = try block.backward(gradient, probabilityGradient: nil)
        Rows.add(gradient, into: embeddedGradient)
        table.backward(embeddedGradient)
        return loss
    }
}
