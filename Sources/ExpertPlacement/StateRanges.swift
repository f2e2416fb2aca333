/// What one rank holds of one expert under a placement.
public struct StateRanges: Hashable, Sendable {
    /// What it computes with; nil: nothing.
    public let resident: Range<Int>?
    /// What it owns and has the moments of; may be empty.
    public let owned: Range<Int>
    /// What it owns without computing with it: master weights of their own, one range on each side of `resident` at most.
    public let masters: [Range<Int>]

    init(resident: Range<Int>?, owned: Range<Int>) {
        self.resident = resident
        self.owned = owned
        let within = owned.clamped(to: resident ?? owned.upperBound..<owned.upperBound)
        masters =
            within.isEmpty
            ? [owned].filter { !$0.isEmpty }
            : [owned.lowerBound..<within.lowerBound, within.upperBound..<owned.upperBound].filter { !$0.isEmpty }
    }

    /// The ranges whose weights it holds, which do not overlap.
    public var weights: [Range<Int>] { (resident.map { [$0] } ?? []) + masters }
}

extension LayerPlacement {
    /// What `rank` holds of `expert`.
    public func stateRanges(
        of expert: Int, rank: Int, _ ownership: OwnershipPolicy, layer: Int, worldSize: Int
    ) -> StateRanges {
        StateRanges(
            resident: experts[expert].residentNeurons(of: rank),
            owned: experts[expert].ownedNeurons(
                of: rank, ownership, layer: layer, expert: expert, worldSize: worldSize))
    }
}
