/// The pairs of a chunk that a rank computes with: by expert, then rank that they come from.
struct PairPlaces {
    /// Places of each expert's rows, E entries; empty for those of other chunks.
    let expertRows: [Range<Int>]
    /// Places of zeros, which fill up experts' rows.
    let padding: [Range<Int>]
    /// All others.
    let runs: [Run]
    /// What each place's pair is among those that come to the rank, its own among them; -1: none.
    let pairs: [Int32]

    /// Neighbouring places of pairs of this rank's tokens, or of others'.
    struct Run {
        let places: Range<Int>
        let isOwn: Bool
        /// This rank's tokens, or rows among those that arrive.
        var rows = [Int32]()
        /// What their results are added to: this rank's tokens, or rows among the sums that go back.
        var targets = [Int32]()
        /// Routing weights.
        var weights = [Float]()
    }

    /// Rows that the rank's experts get.
    var count: Int { pairs.count }
}
