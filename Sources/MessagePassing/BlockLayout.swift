/// Blocks of entries, one for each rank of a group, that lie one after another without gaps.
package struct BlockLayout: Equatable, Sendable {
    /// Entries of each rank's block.
    package let counts: [Int]
    /// First entry of each rank's block.
    package let offsets: [Int]
    /// Entries of all blocks.
    package let total: Int

    /// - Parameters:
    ///   - counts: as passed to `call`.
    ///   - size: ranks of the group.
    ///   - entries: what the memory that holds the blocks has.
    /// - Throws: `CommunicatorError.invalidArgument` when the counts are not what such a call takes.
    package init(_ counts: [Int], size: Int, entries: Int, call: String) throws(CommunicatorError) {
        guard counts.count == size else {
            throw .invalidArgument(call: call, reason: "\(counts.count) counts for a group of \(size) ranks")
        }
        var offsets = [Int]()
        offsets.reserveCapacity(size)
        var total = 0
        for (rank, count) in counts.enumerated() {
            guard count >= 0 else {
                throw .invalidArgument(call: call, reason: "the count \(count) for rank \(rank) is negative")
            }
            offsets.append(total)
            let (sum, overflow) = total.addingReportingOverflow(count)
            guard !overflow else { throw .invalidArgument(call: call, reason: "the counts' sum overflows") }
            total = sum
        }
        guard total == entries else {
            throw .invalidArgument(
                call: call, reason: "the counts add up to \(total), the memory has \(entries) entries")
        }
        self.counts = counts
        self.offsets = offsets
        self.total = total
    }

    /// Checks that rank `rank`'s own block has `entries` entries.
    package func checkBlock(of rank: Int, entries: Int, call: String) throws(CommunicatorError) {
        guard counts[rank] == entries else {
            throw .invalidArgument(
                call: call, reason: "the own count is \(counts[rank]), the block has \(entries) entries")
        }
    }
}

extension Communicator {
    /// Checks that `rank` is one of this group.
    /// - Parameter role: what the error calls it.
    package func checkRank(_ rank: Int, role: String = "rank", call: String) throws(CommunicatorError) {
        guard (0..<size).contains(rank) else {
            throw .invalidArgument(call: call, reason: "\(role) \(rank) is not in a group of \(size) ranks")
        }
    }

    /// Checks that `color` and `key` are what MPI can take.
    package func checkSplit(color: Int, key: Int) throws(CommunicatorError) {
        guard color >= 0, color <= Int(Int32.max) else {
            throw .invalidArgument(call: "split", reason: "color \(color) is not in 0 ... \(Int32.max)")
        }
        guard Int32(exactly: key) != nil else {
            throw .invalidArgument(call: "split", reason: "key \(key) does not fit 32 bits")
        }
    }
}
