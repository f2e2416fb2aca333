import MessagePassing

/// Counts what goes to other ranks: rows, weights and gradients; not the few numbers of `allReduce` and `broadcast`.
final class CountingCommunicator: ForwardingCommunicator {
    private(set) var bytesSent = 0
    /// The most that was sent or received in one `allToAll`.
    private(set) var largestExchangeBytes = 0

    override func reduceScatter<Element: MessageElement>(
        _ values: Span<Element>, counts: [Int], into block: inout MutableSpan<Element>
    ) throws {
        bytesSent += (values.count - counts[rank]) * MemoryLayout<Element>.stride
        try super.reduceScatter(values, counts: counts, into: &block)
    }

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
        largestExchangeBytes = max(
            largestExchangeBytes, max(values.count, received.count) * MemoryLayout<Element>.stride)
        try super.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
    }
}
