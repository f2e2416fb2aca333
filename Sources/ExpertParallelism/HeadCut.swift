import ExpertPlacement

/// Which heads of an attention each rank of a tensor-parallel group has: with each the key-value head that serves it, so that a
/// key-value head is on several ranks when there are fewer of them than ranks.
public struct HeadCut: Hashable, Sendable {
    public struct Part: Hashable, Sendable {
        public let heads: Range<Int>
        public let keyValueHeads: Range<Int>
    }

    /// By place in the group.
    public let parts: [Part]

    /// - Parameters:
    ///   - heads: H
    ///   - keyValueHeads: KV, a divisor of H.
    ///   - ranks: 1 ... H.
    public init(heads: Int, keyValueHeads: Int, ranks: Int) {
        precondition(heads % keyValueHeads == 0 && (1...heads).contains(ranks), "heads do not go around")
        let group = heads / keyValueHeads
        parts = (0..<ranks).map { place in
            if ranks <= keyValueHeads {
                let own = evenPart(place, of: ranks, in: 0..<keyValueHeads)
                return Part(heads: own.lowerBound * group..<own.upperBound * group, keyValueHeads: own)
            }
            // The ranks that share a key-value head have no more than its heads.
            let own = place * keyValueHeads / ranks
            let sharing = (0..<ranks).filter { $0 * keyValueHeads / ranks == own }
            return Part(
                heads: evenPart(place - sharing[0], of: sharing.count, in: own * group..<(own + 1) * group),
                keyValueHeads: own..<own + 1)
        }
    }
}
