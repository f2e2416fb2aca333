import Layers
import MessagePassing
import Tensors

/// Attention whose heads are spread over a tensor-parallel group (Shoeybi et al. 2019, arXiv:1909.08053), and whose input and output
/// rows are, too (sequence parallelism, Korthikanti et al. 2022, arXiv:2205.05198): each rank gets the rows of all the group's tokens,
/// computes its heads over whole sequences, and keeps the sum of all ranks' results for its own tokens.
public final class TensorParallelAttention: Attention, TensorParallelModule {
    public let sharded: [ShardedParameter]
    public let dense: DenseParallelContext
    private let local: SelfAttention
    /// Tokens of the group in the last forward pass.
    private var count = 0

    /// Takes over the weights that are there. Collective.
    /// - Parameter whole: with as many heads as the group has ranks at least.
    init(_ whole: SelfAttention, dense: DenseParallelContext) throws {
        self.dense = dense
        let cut = HeadCut(heads: whole.heads, keyValueHeads: whole.keyValueHeads, ranks: dense.mesh.tensorParallel)
        let own = cut.parts[dense.group.rank]
        let firstWithKeys = cut.parts.firstIndex { $0.keyValueHeads == own.keyValueHeads }
        let local = whole.part(
            heads: own.heads.count, keyValueHeads: own.keyValueHeads.count, addsOutputBias: dense.group.rank == 0,
            group: dense, countsKeys: firstWithKeys == dense.group.rank)
        self.local = local
        sharded = try ShardedParameter.all(of: local, partOf: whole, dense: dense) { name, shape, place in
            let part = cut.parts[place]
            let heads = name.hasPrefix("k_") || name.hasPrefix("v_") ? part.keyValueHeads : part.heads
            let entries = heads.lowerBound * local.headDimension..<heads.upperBound * local.headDimension
            return switch name {
            case "o_proj.weight": .init(inputs: entries, of: shape)
            // Whole on each rank, as are norms of single heads.
            case "o_proj.bias": .init(allOf: shape)
            case _ where name.hasSuffix("norm.weight") && whole.norm?.scope == .head: .init(allOf: shape)
            default: .init(outputs: entries, of: shape)
            }
        }
        try takeOver(whole)
    }

    public func ownTokens(of count: Int) -> Range<Int> { dense.ownTokens(of: count) }

    public func forward(
        _ x: Tensor, sequences: Int, sequenceLength: Int, rotary: RotaryEmbedding, savingForBackward: Bool
    ) throws -> Tensor {
        count = sequences * sequenceLength
        return try dense.scatterSum(
            local.forward(
                dense.gather(x, count: count), sequences: sequences, sequenceLength: sequenceLength, rotary: rotary,
                savingForBackward: savingForBackward))
    }

    public func backward(_ outputGradient: Tensor) throws -> Tensor {
        try dense.scatterSum(local.backward(dense.gather(outputGradient, count: count)))
    }
}
