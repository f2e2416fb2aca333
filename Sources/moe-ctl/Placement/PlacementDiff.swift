import ExpertPlacement
import Listings

/// What changes from one plan to another.
struct PlacementDiff: Encodable {
    /// One expert that is placed otherwise.
    struct ExpertChange: Encodable {
        var layer: Int
        var expert: Int
        var before: ExpertPlacement
        var after: ExpertPlacement
        /// Neurons to compute with that ranks did not have, and that they have no longer.
        var gets: [RankNeurons]
        var loses: [RankNeurons]
        /// What moves over the network; nil when nothing migrates.
        var bytes: Int?
    }

    /// A half-open range of neurons of a rank.
    struct RankNeurons: Encodable, Hashable {
        var rank: Int
        var start: Int
        var end: Int
    }

    /// The sums of one rank.
    struct RankChange: Encodable {
        var rank: Int
        var getsNeurons = 0
        var losesNeurons = 0
        var sendsBytes: Int?
        var receivesBytes: Int?

        enum CodingKeys: String, CodingKey {
            case rank
            case getsNeurons = "gets_neurons"
            case losesNeurons = "loses_neurons"
            case sendsBytes = "sends_bytes"
            case receivesBytes = "receives_bytes"
        }
    }

    /// The plans: revisions, or names of files.
    let from: PlanSource
    let to: PlanSource
    let ownership: OwnershipPolicy
    private(set) var experts = [ExpertChange]()
    private(set) var ranks: [RankChange]
    /// All experts, those included that stay.
    let expertCount: Int
    /// Bytes that leave all ranks together; nil when the plans are for different numbers of ranks, between which state goes
    /// by way of a checkpoint.
    let bytes: Int?

    private enum CodingKeys: String, CodingKey {
        case from, to, ownership, experts, ranks, bytes
        case expertCount = "expert_count"
    }

    /// - Throws: `PlacementError` when the plans are not for the same experts, or their bytes cannot be counted.
    init(
        from old: PlacementPlan, _ oldSource: PlanSource, to new: PlacementPlan, _ newSource: PlanSource,
        hiddenSize: Int, ownership: OwnershipPolicy
    ) throws(PlacementError) {
        let widths = new.layers.map { $0.experts.map(\.width) }
        let model = ExpertModel(hiddenSize: hiddenSize, layers: widths)
        try model.checkSize()
        try old.validate(for: model, worldSize: old.worldSize)
        from = oldSource
        to = newSource
        self.ownership = ownership
        expertCount = widths.reduce(0) { $0 + $1.count }
        ranks = (0..<max(old.worldSize, new.worldSize)).map { RankChange(rank: $0) }

        let migration =
            old.worldSize == new.worldSize ? try Migration(from: old, to: new, ownership: ownership) : nil
        bytes = migration?.bytes(hiddenSize: hiddenSize)
        let neuronBytes = LayerMigration.neuronBytes(hiddenSize: hiddenSize)
        for (layer, (before, after)) in zip(old.layers, new.layers).enumerated() {
            let moved = Traffic(migration?.layers[layer], experts: after.experts.count, neuronBytes: neuronBytes)
            for (expert, (before, after)) in zip(before.experts, after.experts).enumerated() where before != after {
                add(
                    ExpertChange(
                        layer: layer, expert: expert, before: before, after: after,
                        gets: Self.difference(after, before), loses: Self.difference(before, after),
                        bytes: migration == nil ? nil : moved.bytes[expert]))
            }
            guard migration != nil else { continue }
            for rank in ranks.indices {
                ranks[rank].sendsBytes = (ranks[rank].sendsBytes ?? 0) + moved.sent[rank, default: 0]
                ranks[rank].receivesBytes = (ranks[rank].receivesBytes ?? 0) + moved.received[rank, default: 0]
            }
        }
    }

    private mutating func add(_ change: ExpertChange) {
        for part in change.gets { ranks[part.rank].getsNeurons += part.end - part.start }
        for part in change.loses { ranks[part.rank].losesNeurons += part.end - part.start }
        experts.append(change)
    }

    /// The neurons that ranks compute with under `one` and not under `other`, by rank.
    private static func difference(_ one: ExpertPlacement, _ other: ExpertPlacement) -> [RankNeurons] {
        one.residents.flatMap { resident in
            let (all, kept) = (resident.neurons, other.residentNeurons(of: resident.rank) ?? 0..<0)
            let common = all.clamped(to: kept)
            let rest =
                common.isEmpty
                ? [all] : [all.lowerBound..<common.lowerBound, common.upperBound..<all.upperBound]
            return rest.filter { !$0.isEmpty }.map {
                RankNeurons(rank: resident.rank, start: $0.lowerBound, end: $0.upperBound)
            }
        }.sorted { ($0.rank, $0.start) < ($1.rank, $1.start) }
    }

    /// What of one layer goes over the network.
    private struct Traffic {
        private(set) var bytes: [Int]
        private(set) var sent = [Int: Int]()
        private(set) var received = [Int: Int]()

        init(_ migration: LayerMigration?, experts: Int, neuronBytes: Int) {
            bytes = [Int](repeating: 0, count: experts)
            guard let migration else { return }
            for (transfers, tensors) in [(migration.weights, 1), (migration.moments, 2)] {
                for transfer in transfers {
                    let size = tensors * transfer.neurons.count * neuronBytes
                    bytes[transfer.expert] += size
                    sent[transfer.source, default: 0] += size
                    received[transfer.destination, default: 0] += size
                }
            }
        }
    }
}

/// Where a plan comes from.
struct PlanSource: Encodable, Hashable {
    /// Of a run's plan.
    var revision: Int?
    var file: String?

    var name: String { revision.map { "revision \($0)" } ?? file ?? Readable.nothing }
}
