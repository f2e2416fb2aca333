import MessagePassing

/// Counts what goes to other ranks: rows, weights and gradients; not the few numbers of `allReduce` and `broadcast`.
final class CountingCommunicator: ForwardingCommunicator {
    private(set) var bytesSent = 0

    override func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        bytesSent += block.count * (size - 1) * MemoryLayout<Element>.stride
        try super.allGather(block, counts: counts, into: &values)
    }

    override func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        bytesSent += (values.count - sendCounts[rank]) * MemoryLayout<Element>.stride
        try super.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
    }
}
