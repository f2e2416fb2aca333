import ExpertParallelism
import ExpertPlacement
import PlacementInvariance
import TestSupport
import Testing

@Suite struct ExpertChunksTests {
    /// Each rank's experts in as many chunks of the same size as there can be, in their order.
    @Test(arguments: 1...5) func aRankHasItsExpertsInEvenChunks(worldSize: Int) throws {
        let seed = TestRuns.seed("chunks on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for round in 0..<20 {
            let widths = [Int](repeating: 6, count: 1 + round % 9)
            let plan = try plans.plan(for: ExpertModel(hiddenSize: 4, layers: [widths]), worldSize: worldSize)
            let experts = plan.layers[0].experts
            for limit in 1...4 {
                let chunks = ExpertChunks(plan.layers[0], worldSize: worldSize, limit: limit)
                var most = 0
                for rank in 0..<worldSize {
                    let own = experts.indices.filter { experts[$0].mesh.ranks.contains(rank) }.map { chunks[rank, $0] }
                    #expect(own == own.sorted() && own.allSatisfy { (0..<chunks.count).contains($0) })
                    let sizes = (0..<chunks.count).map { chunk in own.count { $0 == chunk } }
                    #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1, "seed \(seed), round \(round)")
                    most = max(most, own.count)
                }
                #expect(chunks.count == max(1, min(limit, most)), "seed \(seed), round \(round)")
            }
        }
    }

    @Test func namesAreReadAndWritten() {
        for value in 0..<8 { #expect(Overlap(Overlap(rawValue: value).text) == Overlap(rawValue: value)) }
        #expect(Overlap("dispatch,refresh") == [.dispatch, .refresh])
        #expect(Overlap("") == nil && Overlap("dispatch,") == nil && Overlap("everything") == nil)
    }
}
