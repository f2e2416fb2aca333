import ControlProtocol
import ExpertPlacement
import Listings

/// A placement, and what it means for each rank.
struct PlacementReport: Encodable {
    let placement: Placement
    let ownership: OwnershipPolicy
    let ranks: [RankHoldings]

    /// - Throws: `PlacementError.unsuitableAllocator` when the ranks' bytes cannot be counted.
    init(_ placement: Placement, model: ExpertModel, ownership: OwnershipPolicy) throws(PlacementError) {
        let widths = placement.plan.layers.map { $0.experts.map(\.width) }
        try ExpertModel(hiddenSize: model.hiddenSize, layers: widths).checkSize()
        self.placement = placement
        self.ownership = ownership
        ranks = RankHoldings.all(
            placement.plan, hiddenSize: model.hiddenSize, ownership: ownership, firstLayer: placement.layer ?? 0)
    }

    private enum CodingKeys: String, CodingKey { case ranks, ownership }

    /// The fields of the protocol's `placement`, and besides `ownership` and `ranks`.
    func encode(to encoder: any Encoder) throws {
        try placement.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(ownership, forKey: .ownership)
        try values.encode(ranks, forKey: .ranks)
    }

    var heading: Table {
        var table = Table([
            ("RUN", .left), ("REVISION", .right), ("STATE", .left), ("RANKS", .right), ("NODES", .right),
            ("AGE", .right),
            ("WHO", .left), ("WHY", .left),
        ])
        table.add([
            placement.run, "\(placement.plan.revision)", placement.state.rawValue, "\(placement.plan.worldSize)",
            "\(Set(placement.plan.nodes).count)", Readable.age(placement.createdAt), placement.who, placement.why,
        ])
        return table
    }

    var rankTable: Table {
        var table = Table([
            ("RANK", .right), ("NODE", .right), ("EXPERTS", .right), ("NEURONS", .right), ("WEIGHTS", .right),
            ("OWNED", .right), ("STATE", .right),
        ])
        for rank in ranks {
            table.add([
                "\(rank.rank)", "\(rank.node)", "\(rank.residentExperts)", "\(rank.residentNeurons)",
                Readable.bytes(rank.weightBytes), "\(rank.ownedNeurons)", Readable.bytes(rank.stateBytes),
            ])
        }
        return table
    }
}
