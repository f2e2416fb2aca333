import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// A SwiGLU network whose neurons are spread over a tensor-parallel group (Shoeybi et al. 2019, arXiv:1909.08053), and whose input and
/// output rows are, too, as those of `TensorParallelAttention`. Ranks have as many neurons, or one more; with more ranks than neurons
/// some have none.
public final class TensorParallelFeedForward: FeedForward, TensorParallelModule {
    public let sharded: [ShardedParameter]
    public let dense: DenseParallelContext
    private let local: Expert
    /// Tokens of the group in the last forward pass.
    private var count = 0

    /// Takes over the weights that are there. Collective.
    init(_ whole: Expert, dense: DenseParallelContext) throws {
        self.dense = dense
        let ranks = dense.group.size
        let neurons = (0..<ranks).map { evenPart($0, of: ranks, in: 0..<whole.width) }
        let local = whole.part(width: neurons[dense.group.rank].count)
        self.local = local
        sharded = try ShardedParameter.all(of: local, partOf: whole, dense: dense) { name, shape, place in
            name.hasPrefix(whole.names.down)
                ? .init(inputs: neurons[place], of: shape) : .init(outputs: neurons[place], of: shape)
        }
        try takeOver(whole)
    }

    public func forward(_ x: Tensor, tokens: Int, savingForBackward: Bool) throws -> Tensor {
        count = tokens
        return try dense.scatterSum(
            local.forward(dense.gather(x, count: count), tokens: count, savingForBackward: savingForBackward))
    }

    public func backward(_ outputGradient: Tensor) throws -> Tensor {
        try dense.scatterSum(local.backward(dense.gather(outputGradient, count: count)))
    }
}
