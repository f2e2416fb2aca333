/// The rows that one rank has for another: each token's once. Both ranks know them.
struct TokenRows {
    /// Of each pair, by expert: the row that brings its token there.
    let there: [Int32]
    /// And the row in which what its expert gave comes back.
    let back: [Int32]
    /// Rows that go there with each chunk, and that come back.
    let thereRanges: [Range<Int>]
    let backRanges: [Range<Int>]
    /// Rows, as many either way.
    let count: Int

    /// - Parameters:
    ///   - there: numbered in the order in which pairs need them first; they come back in the order in which pairs add to them last.
    ///   - pairCounts: of each chunk.
    init(_ there: [Int32], pairCounts: [Int]) {
        let pairRanges = pairCounts.consecutiveRanges
        var count = 0
        thereRanges = pairRanges.map { pairs in
            let first = count
            for row in there[pairs] where Int(row) == count { count += 1 }
            return first..<count
        }
        var numbers = [Int32](repeating: -1, count: count)
        var back = [Int32](repeating: 0, count: there.count)
        var next = count
        backRanges = pairRanges.reversed().map { pairs in
            let last = next
            for pair in pairs.reversed() {
                let row = Int(there[pair])
                if numbers[row] < 0 {
                    next -= 1
                    numbers[row] = Int32(truncatingIfNeeded: next)
                }
                back[pair] = numbers[row]
            }
            return next..<last
        }.reversed()
        (self.there, self.back, self.count) = (there, back, count)
    }

    /// `tokens` of the rows that go there, in the order of the rows that come back.
    func returning(_ tokens: [Int32]) -> [Int32] {
        var returning = tokens
        for (there, back) in zip(there, back) { returning[Int(back)] = tokens[Int(there)] }
        return returning
    }
}
