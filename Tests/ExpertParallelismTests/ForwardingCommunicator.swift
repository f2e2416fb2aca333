import MessagePassing

/// Hands everything on to another communicator; for those that change or watch a part of it.
class ForwardingCommunicator: Communicator {
    let inner: any Communicator

    init(_ inner: any Communicator) {
        self.inner = inner
    }

    var rank: Int { inner.rank }
    var size: Int { inner.size }

    func barrier() throws { try inner.barrier() }

    func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws {
        try inner.broadcast(&values, root: root)
    }

    func allReduce<Element: MessageElement>(_ values: inout MutableSpan<Element>, _ operation: Reduction) throws {
        try inner.allReduce(&values, operation)
    }

    func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        try inner.allGather(block, counts: counts, into: &values)
    }

    func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        try inner.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
    }

    /// By `allToAll` of this communicator, when it is waited for.
    func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        try postponeExchange(outgoing, incoming, keeping: memory)
    }

    func split(color: Int, key: Int) throws -> any Communicator { try inner.split(color: color, key: key) }
}
