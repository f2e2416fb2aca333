import ControlProtocol
import ExpertPlacement

/// A placement, and what it means for each rank.
struct PlacementReport: Encodable {
    /// What one rank holds, over the layers of the placement.
    struct RankSummary: Encodable {
        var rank: Int
        var node: Int
        /// Experts, whole or in part.
        var residentExperts = 0
        /// Neurons to compute with, and the bytes of their weights in fp32.
        var residentNeurons = 0
        var weightBytes = 0
        /// Neurons whose optimizer state is here, and the bytes of AdamW's two moments in fp32.
        var ownedNeurons = 0
        var stateBytes = 0

        enum CodingKeys: String, CodingKey {
            case rank, node
            case residentExperts = "resident_experts"
            case residentNeurons = "resident_neurons"
            case weightBytes = "weight_bytes"
            case ownedNeurons = "owned_neurons"
            case stateBytes = "state_bytes"
        }
    }

    let placement: Placement
    let ranks: [RankSummary]

    init(_ placement: Placement, model: ExpertModel) {
        self.placement = placement
        let plan = placement.plan
        var ranks = (0..<plan.worldSize).map { RankSummary(rank: $0, node: plan.nodes[$0]) }
        for expert in plan.layers.flatMap(\.experts) {
            for resident in expert.residents {
                ranks[resident.rank].residentExperts += 1
                ranks[resident.rank].residentNeurons += resident.neurons.count
            }
            for owner in expert.owners { ranks[owner.rank].ownedNeurons += owner.neurons.count }
        }
        // A neuron is a row of w1, a row of w3 and a column of w2.
        let neuronBytes = 3 * model.hiddenSize * MemoryLayout<Float>.stride
        for index in ranks.indices {
            ranks[index].weightBytes = ranks[index].residentNeurons * neuronBytes
            ranks[index].stateBytes = 2 * ranks[index].ownedNeurons * neuronBytes
        }
        self.ranks = ranks
    }

    private enum CodingKeys: String, CodingKey { case ranks }

    /// The fields of the protocol's `placement`, and `ranks`.
    func encode(to encoder: any Encoder) throws {
        try placement.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
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
