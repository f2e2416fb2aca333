import ExpertPlacement
import Layers
import Tensors

/// The optimizer's state, for checkpoints: the weights are fp32 and so their own masters, which leaves the moments and the
/// number of updates.
extension MoEOptimizer {
    /// The moments that this rank owns, in memory that they share: written there, they are set. All ranks together have each
    /// row once, whatever the plan.
    ///
    /// Of an expert: `PATH.exp_avg` and `PATH.exp_avg_sq` as PyTorch's AdamW calls them, a neuron a row, (n, 3·D). Of another
    /// parameter: an entry a row, (n, 1).
    public var ownedState: [TensorShard] { dense.ownedState + experts.flatMap(\.ownedState) }

    /// Goes on after `updates` updates, with moments that were set.
    public func restore(updates: Int) {
        precondition(updates >= 0, "\(updates) updates")
        self.updates = updates
    }
}

extension DenseState {
    var ownedState: [TensorShard] {
        var shards = [TensorShard]()
        forEachOwnedPart { name, place, part, local in
            shards += moments(
                name, rows: part.lowerBound - place.lowerBound..<part.upperBound - place.lowerBound, of: place.count,
                firstMoment.columns(local).reshaped(rows: part.count, columns: 1),
                secondMoment.columns(local).reshaped(rows: part.count, columns: 1))
        }
        return shards
    }
}

extension ExpertState {
    var ownedState: [TensorShard] {
        owned.enumerated().flatMap { expert, state -> [TensorShard] in
            guard let state else { return [] }
            return moments(
                join(path, "\(expert)"), rows: state.neurons, of: experts.widths[expert], state.firstMoment,
                state.secondMoment)
        }
    }
}

private func moments(
    _ path: String, rows: Range<Int>, of totalRows: Int, _ first: Tensor, _ second: Tensor
) -> [TensorShard] {
    [("exp_avg", first), ("exp_avg_sq", second)].map { name, values in
        TensorShard(name: join(path, name), rows: rows, totalRows: totalRows, values: values)
    }
}
