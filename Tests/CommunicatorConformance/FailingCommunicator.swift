import MessagePassing

/// Throws instead of making one of its calls, and makes those that follow.
package final class FailingCommunicator: Communicator {
    private let inner: any Communicator
    private var remaining: Int
    private let error: any Error

    package init(_ inner: any Communicator, atExchange exchange: Int, error: any Error) {
        self.inner = inner
        self.error = error
        remaining = exchange
    }

    package var rank: Int { inner.rank }
    package var size: Int { inner.size }

    private func count() throws {
        defer { remaining -= 1 }
        if remaining == 0 { throw error }
    }

    package func barrier() throws {
        try count()
        try inner.barrier()
    }

    package func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws {
        try count()
        try inner.broadcast(&values, root: root)
    }

    package func allReduce<Element: MessageElement>(_ values: inout MutableSpan<Element>, _ operation: Reduction) throws
    {
        try count()
        try inner.allReduce(&values, operation)
    }

    package func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        try count()
        try inner.allGather(block, counts: counts, into: &values)
    }

    package func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        try count()
        try inner.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
    }

    package func split(color: Int, key: Int) throws -> any Communicator {
        try count()
        return try inner.split(color: color, key: key)
    }
}
