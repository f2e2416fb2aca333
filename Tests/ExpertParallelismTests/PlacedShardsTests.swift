import ExpertParallelism
import ExpertPlacement
import PlacementInvariance
import TestSupport
import Testing

@Suite struct PlacedShardsTests {
    /// Each rank's experts in as many chunks of the same size as there can be, in their order.
    @Test(arguments: 1...5) func aRankHasItsExpertsInEvenChunks(worldSize: Int) throws {
        let seed = TestRuns.seed("chunks on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for round in 0..<20 {
            let widths = [Int](repeating: 6, count: 1 + round % 9)
            let plan = try plans.plan(for: ExpertModel(hiddenSize: 4, layers: [widths]), worldSize: worldSize)
            let experts = plan.layers[0].experts
            for limit in 1...4 {
                let shards = PlacedShards(plan.layers[0], worldSize: worldSize, mostChunks: limit)
                let situation = "seed \(seed), round \(round)"
                var most = 0
                for rank in 0..<worldSize {
                    let own = experts.indices.filter { experts[$0].mesh.ranks.contains(rank) }
                    #expect(Array(shards.experts[shards.ranges[rank]]) == own, "\(situation)")
                    let chunks = shards.chunks[shards.ranges[rank]]
                    #expect(chunks.elementsEqual(chunks.sorted()), "\(situation)")
                    #expect(chunks.allSatisfy { (0..<shards.chunkCount).contains($0) }, "\(situation)")
                    let sizes = (0..<shards.chunkCount).map { chunk in chunks.count { $0 == chunk } }
                    #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1, "\(situation)")
                    most = max(most, own.count)
                }
                #expect(shards.ranges.last?.upperBound == shards.experts.count)
                #expect(shards.chunkCount == max(1, min(limit, most)), "\(situation)")
            }
        }
    }

    @Test func namesAreReadAndWritten() {
        for value in 0..<8 { #expect(Overlap(Overlap(rawValue: value).text) == Overlap(rawValue: value)) }
        #expect(Overlap("dispatch,refresh") == [.dispatch, .refresh])
        #expect(Overlap("") == nil && Overlap("dispatch,") == nil && Overlap("everything") == nil)
    }
}
