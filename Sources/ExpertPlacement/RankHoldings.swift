/// What one rank holds under a plan, over its layers.
public struct RankHoldings: Hashable, Sendable, Encodable {
    public internal(set) var rank: Int
    public internal(set) var node: Int
    /// Experts, whole or in part.
    public internal(set) var residentExperts = 0
    /// Neurons to compute with.
    public internal(set) var residentNeurons = 0
    /// Bytes in fp32 of the weights to compute with, and of those owned besides.
    public internal(set) var weightBytes = 0
    /// Neurons whose optimizer state is here, and the bytes of AdamW's two moments in fp32.
    public internal(set) var ownedNeurons = 0
    public internal(set) var stateBytes = 0

    private enum CodingKeys: String, CodingKey {
        case rank, node
        case residentExperts = "resident_experts"
        case residentNeurons = "resident_neurons"
        case weightBytes = "weight_bytes"
        case ownedNeurons = "owned_neurons"
        case stateBytes = "state_bytes"
    }

    /// - Parameter firstLayer: index of the plan's first layer in the model, for a plan that has one layer alone.
    public static func all(
        _ plan: PlacementPlan, hiddenSize: Int, ownership: OwnershipPolicy, firstLayer: Int = 0
    ) -> [RankHoldings] {
        var ranks = (0..<plan.worldSize).map { RankHoldings(rank: $0, node: plan.nodes[$0]) }
        let neuronBytes = LayerMigration.neuronBytes(hiddenSize: hiddenSize)
        for (layer, placement) in plan.layers.enumerated() {
            for (index, expert) in placement.experts.enumerated() {
                for resident in expert.residents {
                    ranks[resident.rank].residentExperts += 1
                    ranks[resident.rank].residentNeurons += resident.neurons.count
                    ranks[resident.rank].weightBytes += resident.neurons.count * neuronBytes
                }
                let owners = expert.owners(
                    ownership, layer: layer + firstLayer, expert: index, worldSize: plan.worldSize)
                for owner in owners {
                    let resident = expert.residentNeurons(of: owner.rank) ?? 0..<0
                    let further = owner.neurons.count - owner.neurons.clamped(to: resident).count
                    ranks[owner.rank].ownedNeurons += owner.neurons.count
                    ranks[owner.rank].weightBytes += further * neuronBytes
                    ranks[owner.rank].stateBytes += 2 * owner.neurons.count * neuronBytes
                }
            }
        }
        return ranks
    }
}
