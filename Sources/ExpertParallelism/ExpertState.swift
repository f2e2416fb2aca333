import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// The optimizer state of one layer's experts that this rank owns, and the ways their gradients and weights go.
final class ExpertState {
    let path: String
    let experts: ParallelExperts

    private struct Owned {
        let expert: Int
        let neurons: Range<Int>
        /// (n, 3·D) as the shard's values, which are the fp32 master weights.
        let firstMoment: Tensor
        let secondMoment: Tensor
    }
    private let owned: [Owned]
    private let gradientExchange: NeuronExchange
    private let refreshExchange: NeuronExchange

    init(path: String, experts: ParallelExperts) {
        self.path = path
        self.experts = experts
        let rank = experts.context.communicator.rank
        let columns = 3 * experts.hiddenSize
        owned = experts.placement.experts.enumerated().compactMap { expert, placement in
            let neurons = placement.ownedNeurons(of: rank)
            if neurons.isEmpty { return nil }
            return Owned(
                expert: expert, neurons: neurons,
                firstMoment: Tensor(rows: neurons.count, columns: columns, repeating: 0),
                secondMoment: Tensor(rows: neurons.count, columns: columns, repeating: 0))
        }
        gradientExchange = NeuronExchange(experts.placement.gradientTransfers, context: experts.context)
        refreshExchange = NeuronExchange(experts.placement.refreshTransfers, context: experts.context)
    }

    /// Sums the replicas' gradients at the owners.
    /// - Returns: the sum of squares of what this rank owns.
    func reduceGradients() throws -> Double {
        try gradientExchange.run(
            columns: 3 * experts.hiddenSize, context: experts.context,
            read: { shard($0.expert).gradient(of: $0.neurons) },
            deliver: { Rows.add($1, into: shard($0.expert).gradient(of: $0.neurons)) })
        return owned.reduce(0) { $0 + Reductions.sumOfSquares(shard($1.expert).gradient(of: $1.neurons)) }
    }

    /// Updates what this rank owns and gives it to the other replicas.
    func step(_ step: Int, configuration: AdamW.Configuration, gradientScale: Float) throws {
        for part in owned {
            let shard = shard(part.expert)
            AdamW.update(
                value: shard.value(of: part.neurons), gradient: shard.gradient(of: part.neurons),
                firstMoment: part.firstMoment, secondMoment: part.secondMoment,
                step: step, configuration: configuration, gradientScale: gradientScale)
        }
        try refreshExchange.run(
            columns: 3 * experts.hiddenSize, context: experts.context,
            read: { shard($0.expert).value(of: $0.neurons) },
            deliver: { shard($0.expert).value(of: $0.neurons).copy(from: $1) })
    }

    /// The experts whose gradients on this rank are not finite.
    func nonFiniteGradients() -> [String] { affectedExperts(\.gradient) }

    /// The first expert whose weights on this rank are not finite.
    func firstNonFiniteWeight() -> String? { affectedExperts(\.value).first }

    private func affectedExperts(_ part: (ExpertShard) -> Tensor) -> [String] {
        experts.shards.enumerated()
            .filter { $0.element.map { !Reductions.allFinite(part($0)) } ?? false }
            .map { join(path, "\($0.offset)") }
    }

    /// A shard that the placement gives this rank.
    private func shard(_ expert: Int) -> ExpertShard {
        guard let shard = experts.shards[expert] else {
            preconditionFailure("expert \(expert) is not resident where the placement says so")
        }
        return shard
    }
}
