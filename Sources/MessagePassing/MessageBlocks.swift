/// Entries that go to one rank, wherever they lie. Their memory has to stay until the exchange that gets this is done.
public struct OutgoingBlock<Element: MessageElement> {
    public let rank: Int
    package let entries: UnsafeBufferPointer<Element>

    public init(_ entries: Span<Element>, to rank: Int) {
        self.rank = rank
        self.entries = entries.withUnsafeBufferPointer { $0 }
    }
}

/// Memory for entries from one rank. It has to stay until the exchange that gets this is done.
public struct IncomingBlock<Element: MessageElement> {
    public let rank: Int
    package let entries: UnsafeMutableBufferPointer<Element>

    public init(_ entries: inout MutableSpan<Element>, from rank: Int) {
        self.rank = rank
        self.entries = entries.withUnsafeMutableBufferPointer { $0 }
    }
}

extension Communicator {
    /// Packs the blocks and unpacks what came: for communicators that cannot do without.
    public func exchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>]
    ) throws {
        try checkRanks(outgoing, incoming)
        var sent = [Element]()
        var sendCounts = [Int](repeating: 0, count: size)
        for rank in 0..<size {
            for block in outgoing where block.rank == rank {
                sent += block.entries
                sendCounts[rank] += block.entries.count
            }
        }
        var receiveCounts = [Int](repeating: 0, count: size)
        for block in incoming { receiveCounts[block.rank] += block.entries.count }
        var received = [Element](repeating: .zero, count: receiveCounts.reduce(0, +))
        var span = received.mutableSpan
        try allToAll(sent.span, sendCounts: sendCounts, into: &span, receiveCounts: receiveCounts)
        var start = 0
        for rank in 0..<size {
            for block in incoming where block.rank == rank {
                _ = block.entries.update(from: received[start..<start + block.entries.count])
                start += block.entries.count
            }
        }
    }

    /// Does all of it when it is waited for: for communicators that can only do one thing at a time.
    public func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        try postponeExchange(outgoing, incoming, keeping: memory)
    }

    /// What `startExchange` does unless a communicator has its own.
    package func postponeExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        try checkRanks(outgoing, incoming)
        return PostponedExchange { [self] in
            try withExtendedLifetime(memory) { try exchange(outgoing, incoming) }
        }
    }

    public func progress() {}

    /// All ranks but this one. Each begins with its neighbour, so that not all send to one.
    public var otherRanks: [Int] { (1..<max(size, 1)).map { (rank + $0) % size } }

    /// Checks that blocks go to and come from ranks of this group.
    package func checkRanks<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>]
    ) throws(CommunicatorError) {
        for block in outgoing { try checkRank(block.rank, call: "exchange") }
        for block in incoming { try checkRank(block.rank, call: "exchange") }
    }
}

private final class PostponedExchange: PendingExchange {
    private let body: () throws -> Void

    init(_ body: @escaping () throws -> Void) {
        self.body = body
    }

    func wait() throws { try body() }
}
