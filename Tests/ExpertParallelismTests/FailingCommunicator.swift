import MessagePassing

/// Throws instead of making one of its exchanges.
final class FailingCommunicator: Communicator {
    private let inner: any Communicator
    private var remaining: Int
    private let error: any Error

    init(_ inner: any Communicator, atExchange exchange: Int, error: any Error) {
        self.inner = inner
        self.error = error
        remaining = exchange
    }

    var rank: Int { inner.rank }
    var size: Int { inner.size }

    private func count() throws {
        if remaining == 0 { throw error }
        remaining -= 1
    }

    func barrier() throws {
        try count()
        try inner.barrier()
    }

    func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws {
        try count()
        try inner.broadcast(&values, root: root)
    }

    func allReduce<Element: MessageElement>(_ values: inout MutableSpan<Element>, _ operation: Reduction) throws {
        try count()
        try inner.allReduce(&values, operation)
    }

    func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        try count()
        try inner.allGather(block, counts: counts, into: &values)
    }

    func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        try count()
        try inner.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
    }

    func split(color: Int, key: Int) throws -> any Communicator {
        try count()
        return try inner.split(color: color, key: key)
    }
}
