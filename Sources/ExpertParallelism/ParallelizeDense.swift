import Layers

/// Spreads what all tokens go through over tensor-parallel groups: the heads of all attention in a model, and the neurons of all
/// feed-forward networks that are no group's experts. Routers learn of the ranks that have the rest of a sequence. What is spread already
/// stays as it is. Weights that exist are taken over; those that have no memory yet get it only for this rank's part. Collective.
/// - Parameters:
///   - mesh: of as many ranks as there are.
///   - context: that of the experts.
/// - Throws: `ParallelizationError` when there are more ranks in a group than heads.
public func parallelizeDense(in model: any Module, mesh: DenseMesh, context: ExpertParallelContext) throws {
    if mesh.tensorParallel == 1 { return }
    let dense = try DenseParallelContext(mesh: mesh, context: context)
    for (path, parent) in model.namedModules() where !(parent is any ExpertGroup) {
        // Sequences are cut with their tokens.
        (parent as? Router)?.sequenceGroup = dense
        for (name, module) in parent.children {
            switch module {
            case let attention as SelfAttention:
                guard mesh.tensorParallel <= attention.heads else {
                    throw ParallelizationError.heads(
                        path: join(path, name), ranks: mesh.tensorParallel, heads: attention.heads)
                }
                try parent.replaceChild(name, with: TensorParallelAttention(attention, dense: dense))
            case let network as Expert:
                try parent.replaceChild(name, with: TensorParallelFeedForward(network, dense: dense))
            default: break
            }
        }
    }
}
