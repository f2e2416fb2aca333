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
        let local = whole.part(
            heads: own.heads.count, keyValueHeads: own.keyValueHeads.count, addsOutputBias: dense.group.rank == 0)
        self.local = local
        sharded = try zip(local.namedParameters(), whole.namedParameters()).map { part, whole in
            try ShardedParameter(
                name: part.name, parameter: part.parameter, shape: whole.parameter.shape,
                parts: cut.parts.map {
                    Self.part(
                        of: part.name, shape: whole.parameter.shape,
                        isWhole: part.parameter.shape == whole.parameter.shape,
                        $0, headDimension: local.headDimension)
                }, dense: dense)
        }
        if whole.namedParameters().contains(where: \.parameter.isMaterialized) {
            try loadOwnWeights(from: ModuleWeights(whole), path: "")
        }
    }

    /// Queries, keys and values are cut by their outputs, the last projection by its inputs; its bias and the norms of single heads
    /// are whole on each rank.
    /// - Parameter isWhole: whether all heads share it.
    private static func part(
        of name: String, shape: [Int], isWhole: Bool, _ part: HeadCut.Part, headDimension: Int
    ) -> ShardedParameter.Part {
        if isWhole { return .init(rows: 0..<(shape.count == 2 ? shape[0] : 1), columns: 0..<shape[shape.count - 1]) }
        let heads = name.hasPrefix("k_") || name.hasPrefix("v_") ? part.keyValueHeads : part.heads
        let entries = heads.lowerBound * headDimension..<heads.upperBound * headDimension
        if shape.count == 1 { return .init(rows: 0..<1, columns: entries) }
        return name.hasPrefix("o_")
            ? .init(rows: 0..<shape[0], columns: entries) : .init(rows: entries, columns: 0..<shape[1])
    }

    public func ownTokens(of count: Int) -> Range<Int> {
        dense.mesh.tokens(of: dense.context.communicator.rank, count: count)
    }

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

/// Spreads the heads of all attention in a model over tensor-parallel groups. Attention that is spread already stays as it is.
/// Weights that exist are taken over; those that have no memory yet get it only for this rank's heads. Collective.
/// - Parameters:
///   - mesh: of as many ranks as there are.
///   - context: that of the experts.
/// - Throws: `ParallelizationError` when there are more ranks in a group than heads, or heads have a norm together.
public func parallelizeAttention(in model: any Module, mesh: DenseMesh, context: ExpertParallelContext) throws {
    let ranks = mesh.tensorParallel
    if ranks == 1 { return }
    let dense = try DenseParallelContext(mesh: mesh, context: context)
    for (path, parent) in model.namedModules() {
        for (name, module) in parent.children {
            guard let attention = module as? SelfAttention else { continue }
            guard ranks <= attention.heads else {
                throw ParallelizationError.heads(path: join(path, name), ranks: ranks, heads: attention.heads)
            }
            guard attention.norm?.scope != .allHeads else {
                throw ParallelizationError.normOfAllHeads(path: join(path, name), ranks: ranks)
            }
            try parent.replaceChild(name, with: TensorParallelAttention(attention, dense: dense))
        }
    }
}
