import ExpertPlacement
import Tensors

/// One expert on one rank while it migrates: what the rank held of it, and what it will hold.
struct ExpertMove {
    private let target: StateRanges
    private let oldShards: [ExpertShard]
    private let oldState: OwnedState?
    /// By `target.weights`.
    private var newShards = [ExpertShard]()
    private var newState: OwnedState?

    /// Lets the gradients go.
    /// - Parameters:
    ///   - shards: what the rank holds, which is nowhere else: their gradients' memory is free after this.
    ///   - target: what it will hold.
    init(shards: [ExpertShard], state: OwnedState?, target: StateRanges) {
        self.target = target
        oldShards = shards.map { shard in
            // A range that stays keeps its memory, gradient and all.
            if target.weights.contains(shard.neurons) { return shard }
            var shard = shard
            shard.dropGradient()
            return shard
        }
        oldState = state.map {
            OwnedState(
                neurons: $0.neurons, masters: [], firstMoment: $0.firstMoment, secondMoment: $0.secondMoment)
        }
    }

    /// Takes memory for what is new, and fills it as far as this rank can.
    mutating func takeMemory(hiddenSize: Int) {
        newShards = target.weights.map { neurons in
            if let same = oldShards.first(where: { $0.neurons == neurons }) { return same }
            let shard = ExpertShard(withoutGradient: neurons, hiddenSize: hiddenSize)
            for old in oldShards {
                let common = old.neurons.clamped(to: neurons)
                if !common.isEmpty { shard.value(of: common).stream(from: old.value(of: common)) }
            }
            return shard
        }
        newState = target.owned.isEmpty ? nil : state(hiddenSize: hiddenSize)
    }

    private func state(hiddenSize: Int) -> OwnedState {
        if let oldState, oldState.neurons == target.owned { return oldState }
        let state = OwnedState(
            neurons: target.owned, masters: [],
            firstMoment: Tensor(rows: target.owned.count, columns: 3 * hiddenSize),
            secondMoment: Tensor(rows: target.owned.count, columns: 3 * hiddenSize))
        guard let oldState else { return state }
        let common = oldState.neurons.clamped(to: target.owned)
        if !common.isEmpty {
            let (new, old) = (state.local(common), oldState.local(common))
            state.firstMoment.rows(new).stream(from: oldState.firstMoment.rows(old))
            state.secondMoment.rows(new).stream(from: oldState.secondMoment.rows(old))
        }
        return state
    }

    /// Memory that `item` is read from, on its source.
    func source(_ item: StateTransfer) -> Tensor { Self.rows(of: item, shards: oldShards, state: oldState) }

    /// Memory that `item` goes to, on its destination.
    func destination(_ item: StateTransfer) -> Tensor { Self.rows(of: item, shards: newShards, state: newState) }

    private static func rows(of item: StateTransfer, shards: [ExpertShard], state: OwnedState?) -> Tensor {
        let neurons = item.transfer.neurons
        if item.part == .weights { return shards.holder(of: neurons).value(of: neurons) }
        guard let state else { preconditionFailure("moments of \(neurons) are not where the placement says") }
        return (item.part == .firstMoment ? state.firstMoment : state.secondMoment).rows(state.local(neurons))
    }

    /// What the rank holds from now on. The old memory is free when this value is gone.
    var result: (shard: ExpertShard?, state: OwnedState?) {
        let hasResident = target.resident != nil
        var state = newState
        state?.masters = Array(newShards.dropFirst(hasResident ? 1 : 0))
        return (hasResident ? newShards.first : nil, state)
    }
}
