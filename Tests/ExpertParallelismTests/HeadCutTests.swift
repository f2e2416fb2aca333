import ExpertParallelism
import Testing

@Suite struct HeadCutTests {
    /// Each head is on one rank, with the key-value head that serves it, and the heads of a rank share theirs evenly.
    @Test func everyHeadIsServed() {
        for heads in 1...12 {
            for keyValueHeads in 1...heads where heads % keyValueHeads == 0 {
                let group = heads / keyValueHeads
                for ranks in 1...heads {
                    let parts = HeadCut(heads: heads, keyValueHeads: keyValueHeads, ranks: ranks).parts
                    let place = "\(heads) heads, \(keyValueHeads) key-value heads, \(ranks) ranks"
                    #expect(parts.flatMap { Array($0.heads) } == Array(0..<heads), "\(place)")
                    for part in parts {
                        #expect(!part.heads.isEmpty && part.heads.count % part.keyValueHeads.count == 0, "\(place)")
                        let shared = part.heads.count / max(1, part.keyValueHeads.count)
                        for (index, head) in part.heads.enumerated() {
                            #expect(part.keyValueHeads.lowerBound + index / shared == head / group, "\(place)")
                        }
                    }
                }
            }
        }
    }
}
