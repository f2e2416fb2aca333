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
    public var ownedState: [TensorShard] { dense.flatMap(\.ownedState) + experts.flatMap(\.ownedState) }

    /// Goes on after `updates` updates, with moments that were set.
    public func restore(updates: Int) {
        precondition(updates >= 0, "\(updates) updates")
        self.updates = updates
    }
}

extension DenseState {
    var ownedState: [TensorShard] {
        var shards = [TensorShard]()
        forEachOwnedPart { dense, place, part, local in
            let own = part.lowerBound - place.lowerBound..<part.upperBound - place.lowerBound
            let entries = dense.shard?.entries(own) ?? (rows: own, columns: nil)
            shards += moments(
                dense.name, rows: entries.rows, of: dense.shard?.count ?? place.count, columns: entries.columns,
                firstMoment.columns(local).reshaped(rows: part.count, columns: 1),
                secondMoment.columns(local).reshaped(rows: part.count, columns: 1))
        }
        return shards
    }
}

extension ShardedParameter {
    /// Where entries of this rank's part are among those of the whole, as `TensorShard` has it.
    fileprivate func entries(_ local: Range<Int>) -> (rows: Range<Int>, columns: TensorShard.Columns?) {
        if own.rows.count > 1, own.columns.count < columns {
            // All rows: columns are cut alone.
            return (local, TensorShard.Columns(range: own.columns, total: columns))
        }
        let first = own.rows.lowerBound * columns + own.columns.lowerBound
        return (local.lowerBound + first..<local.upperBound + first, nil)
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
    _ path: String, rows: Range<Int>, of totalRows: Int, columns: TensorShard.Columns? = nil, _ first: Tensor,
    _ second: Tensor
) -> [TensorShard] {
    [("exp_avg", first), ("exp_avg_sq", second)].map { name, values in
        TensorShard(name: join(path, name), rows: rows, totalRows: totalRows, columns: columns, values: values)
    }
}
