import ExpertPlacement
import PlacementInvariance
import TestSupport
import Testing

@Suite struct OwnershipPolicyTests {
    /// Each neuron has one owner, under either policy, and rank by rank it is the same.
    @Test(arguments: OwnershipPolicy.allCases) func everyNeuronHasOneOwner(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("owners, \(ownership)")
        var plans = RandomPlan(seed: seed)
        for worldSize in 1...7 {
            for width in 1...12 {
                let placement = try plans.placement(width: width, worldSize: worldSize)
                for (layer, expert) in [(0, 0), (0, 3), (5, 2)] {
                    let owners = placement.owners(ownership, layer: layer, expert: expert, worldSize: worldSize)
                    #expect(owners.flatMap { Array($0.neurons) } == Array(0..<width))
                    for rank in 0..<worldSize {
                        let owned = placement.ownedNeurons(
                            of: rank, ownership, layer: layer, expert: expert, worldSize: worldSize)
                        let listed = owners.filter { $0.rank == rank }.map(\.neurons)
                        #expect(listed == (owned.isEmpty ? [] : [owned]), "seed \(seed), \(placement)")
                    }
                }
            }
        }
    }

    /// State that is spread over all ranks does not know where its expert is, and no rank has much more than another.
    @Test func decoupledStateIsEvenAndStays() throws {
        let worldSize = 4
        var plans = RandomPlan(seed: 3)
        var neurons = [Int](repeating: 0, count: worldSize)
        for layer in 0..<4 {
            for expert in 0..<6 {
                let (one, other) = (
                    try plans.placement(width: 5, worldSize: worldSize),
                    try plans.placement(width: 5, worldSize: worldSize)
                )
                let owners = one.owners(.decoupled, layer: layer, expert: expert, worldSize: worldSize)
                #expect(owners == other.owners(.decoupled, layer: layer, expert: expert, worldSize: worldSize))
                for owner in owners { neurons[owner.rank] += owner.neurons.count }
            }
        }
        #expect(neurons == [30, 30, 30, 30])
    }

    /// What a rank owns beyond what it computes with has masters of its own, and nothing is held twice.
    @Test func mastersAreWhatShardsDoNotHold() throws {
        let seed = TestRuns.seed("masters")
        var plans = RandomPlan(seed: seed)
        for round in 0..<100 {
            let layer = LayerPlacement(experts: [try plans.placement(width: 13, worldSize: 5)])
            for rank in 0..<5 {
                let state = layer.stateRanges(of: 0, rank: rank, .decoupled, layer: round, worldSize: 5)
                let resident = Set(layer.experts[0].residentNeurons(of: rank) ?? 0..<0)
                #expect(Set(state.masters.joined()) == Set(state.owned).subtracting(resident), "seed \(seed)")
                #expect(state.masters.allSatisfy { !$0.isEmpty })
                #expect(Array(state.weights.joined()).count == resident.union(state.owned).count)
            }
        }
    }
}
