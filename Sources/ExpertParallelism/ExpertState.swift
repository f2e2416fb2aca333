import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// The optimizer state of one layer's experts that this rank owns, and the ways their gradients and weights go.
final class ExpertState {
    let path: String
    let experts: ParallelExperts
    let ownership: OwnershipPolicy
    /// By expert; nil: nothing.
    var owned: [OwnedState?]
    private var gradientExchange: NeuronExchange
    private var refreshExchange: NeuronExchange
    /// What is under way.
    private var reduction: NeuronSum?
    private var refresh: (any PendingExchange)?
    /// Whether masters beside the shards have their weights. Experts may get theirs after the optimizer was made.
    private var mastersAreSet: Bool

    init(path: String, experts: ParallelExperts, ownership: OwnershipPolicy) {
        self.path = path
        self.experts = experts
        self.ownership = ownership
        let communicator = experts.context.communicator
        let hiddenSize = experts.hiddenSize
        owned = experts.placement.experts.indices.map { expert in
            let ranges = experts.placement.stateRanges(
                of: expert, rank: communicator.rank, ownership, layer: experts.layer, worldSize: communicator.size)
            if ranges.owned.isEmpty { return nil }
            return OwnedState(
                neurons: ranges.owned,
                masters: ranges.masters.map { ExpertShard(neurons: $0, hiddenSize: hiddenSize) },
                firstMoment: Tensor(rows: ranges.owned.count, columns: 3 * hiddenSize, repeating: 0),
                secondMoment: Tensor(rows: ranges.owned.count, columns: 3 * hiddenSize, repeating: 0))
        }
        mastersAreSet = ownership == .colocated
        (gradientExchange, refreshExchange) = Self.exchanges(experts, ownership)
    }

    /// The ways of gradients and weights under the placement in force.
    private static func exchanges(
        _ experts: ParallelExperts, _ ownership: OwnershipPolicy
    ) -> (gradients: NeuronExchange, refresh: NeuronExchange) {
        let context = experts.context
        let (layer, worldSize) = (experts.layer, context.communicator.size)
        let columns = 3 * experts.hiddenSize
        return (
            NeuronExchange(
                experts.placement.gradientTransfers(ownership, layer: layer, worldSize: worldSize), columns: columns,
                context: context),
            NeuronExchange(
                experts.placement.refreshTransfers(ownership, layer: layer, worldSize: worldSize), columns: columns,
                context: context)
        )
    }

    /// Goes by the placement that the experts have got. What this rank holds is in its place.
    func followPlacement() {
        (gradientExchange, refreshExchange) = Self.exchanges(experts, ownership)
    }

    func zeroGradients() {
        experts.zeroGradients()
        for case let state? in owned {
            for master in state.masters { master.clearGradient() }
        }
    }

    /// Begins to bring the replicas' gradients to the owners. Collective.
    func startReduction() throws {
        reduction = try gradientExchange.startSum(context: experts.context, read: gradient)
    }

    /// Sums the replicas' gradients at the owners, from where `startReduction` has left off. Collective.
    func finishReduction() throws {
        if let reduction {
            self.reduction = nil
            try reduction.add(to: gradient)
        } else {
            try gradientExchange.add(context: experts.context, read: gradient, target: gradient)
        }
    }

    /// Of the summed gradients that this rank owns.
    func sumOfSquares() -> Double {
        var sum = 0.0
        forEachOwnedPart { _, shard, neurons, _ in sum += Reductions.sumOfSquares(shard.gradient(of: neurons)) }
        return sum
    }

    /// Updates what this rank owns and begins to give it to the other replicas. Collective.
    func step(_ step: Int, configuration: AdamW.Configuration, gradientScale: Float) throws {
        try setMasters()
        forEachOwnedPart { _, shard, neurons, state in
            AdamW.update(
                value: shard.value(of: neurons), gradient: shard.gradient(of: neurons),
                firstMoment: state.firstMoment.rows(state.local(neurons)),
                secondMoment: state.secondMoment.rows(state.local(neurons)),
                step: step, configuration: configuration, gradientScale: gradientScale)
        }
        refresh = try startCopy(refreshExchange)
    }

    /// Returns when the weights are up to date. Collective.
    func finishRefresh() throws {
        defer { refresh = nil }
        try refresh?.wait()
    }

    /// Brings the weights to owners that do not compute with them, before they are first needed. Collective.
    func setMasters() throws {
        if mastersAreSet { return }
        mastersAreSet = true
        let context = experts.context
        let (layer, worldSize) = (experts.layer, context.communicator.size)
        var sources = TransferSources(nodes: [Int](repeating: 0, count: worldSize))
        let transfers = experts.placement.experts.enumerated().flatMap { expert, placement in
            sources.transfers(
                expert: expert, from: placement.residents,
                to: placement.owners(ownership, layer: layer, expert: expert, worldSize: worldSize), cost: 1,
                uncut: { _, _, _ in false })
        }
        try startCopy(NeuronExchange(transfers, columns: 3 * experts.hiddenSize, context: context))?.wait()
    }

    private func startCopy(_ exchange: NeuronExchange) throws -> (any PendingExchange)? {
        try exchange.startCopy(
            context: experts.context, read: { holding($0).value(of: $0.neurons) },
            target: { holding($0).value(of: $0.neurons) })
    }

    private func gradient(_ transfer: NeuronTransfer) -> Tensor { holding(transfer).gradient(of: transfer.neurons) }

    /// The experts whose gradients on this rank are not finite.
    func nonFiniteGradients() -> [String] { affectedExperts(\.gradient) }

    /// The first expert whose weights on this rank are not finite.
    func firstNonFiniteWeight() -> String? { affectedExperts(\.value).first }

    private func affectedExperts(_ part: (ExpertShard) -> Tensor) -> [String] {
        owned.indices
            .filter { holdings($0).contains { !Reductions.allFinite(part($0)) } }
            .map { join(path, "\($0)") }
    }

    /// What this rank holds of an expert: the shard that it computes with, and masters. Their ranges do not overlap.
    func holdings(_ expert: Int) -> [ExpertShard] {
        (experts.shards[expert].map { [$0] } ?? []) + (owned[expert]?.masters ?? [])
    }

    /// The neurons that this rank owns, shard by shard with the state of their expert.
    func forEachOwnedPart(_ body: (_ expert: Int, ExpertShard, _ neurons: Range<Int>, OwnedState) -> Void) {
        for (expert, state) in owned.enumerated() {
            guard let state else { continue }
            for shard in holdings(expert) {
                let neurons = shard.neurons.clamped(to: state.neurons)
                if !neurons.isEmpty { body(expert, shard, neurons, state) }
            }
        }
    }

    /// The one that has the neurons of a transfer from or to this rank: none goes beyond what a rank computes with.
    private func holding(_ transfer: NeuronTransfer) -> ExpertShard {
        holdings(transfer.expert).holder(of: transfer.neurons)
    }
}

extension [ExpertShard] {
    /// The one that has `neurons`, as the placement says that one has.
    func holder(of neurons: Range<Int>) -> ExpertShard {
        guard let holder = first(where: { $0.neurons.clamped(to: neurons) == neurons }) else {
            preconditionFailure("neurons \(neurons) are not where the placement says")
        }
        return holder
    }
}

extension ExpertState {
    /// Hands the summed gradients to rank 0's sink. Collective.
    func storeGradients(to sink: any WeightSink) throws {
        let worldSize = experts.context.communicator.size
        for (expert, placement) in experts.placement.experts.enumerated() {
            let owners = placement.owners(ownership, layer: experts.layer, expert: expert, worldSize: worldSize)
            let whole = try experts.gather(expert: expert, owners) { owned in
                let rows = Tensor(rows: owned.count, columns: 3 * experts.hiddenSize)
                forEachOwnedPart { other, shard, neurons, state in
                    if other == expert { rows.rows(state.local(neurons)).copy(from: shard.gradient(of: neurons)) }
                }
                return rows
            }
            if let whole { try experts.store(whole, expert: expert, to: sink, path: path) }
        }
    }
}
