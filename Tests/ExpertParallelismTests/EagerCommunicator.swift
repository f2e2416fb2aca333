import MessagePassing
import Testing

/// Sends what leaves when an exchange begins, and puts what comes in its place when it is waited for; until then there are numbers that
/// are none. So what is sent or read too early shows, and what changed under way fails the test. Unlike an exchange's, its wait is not
/// collective. Counts the entries that leave with each exchange.
final class EagerCommunicator: ForwardingCommunicator {
    private var sent = [Int]()

    /// Returns the entries that left with each exchange begun since the last call.
    func takeSent() -> [Int] {
        defer { sent = [] }
        return sent
    }

    override func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        sent.append(outgoing.reduce(0) { $0 + $1.entries.count })
        var received = [[Element]]()
        let copies = incoming.map { UnsafeMutableBufferPointer<Element>.allocate(capacity: $0.entries.count) }
        defer { for copy in copies { copy.deallocate() } }
        try exchange(
            outgoing,
            zip(incoming, copies).map { block, copy in
                copy.initialize(repeating: .zero)
                var span = copy.mutableSpan
                return IncomingBlock(&span, from: block.rank)
            })
        for (block, copy) in zip(incoming, copies) {
            received.append(Array(copy))
            UnsafeMutableRawBufferPointer(block.entries).initializeMemory(as: UInt8.self, repeating: 0xFF)
        }
        let left = outgoing.map { Array($0.entries) }
        return EagerExchange {
            withExtendedLifetime(memory) {
                for (block, values) in zip(outgoing, left) {
                    let same = values.withUnsafeBytes { $0.elementsEqual(UnsafeRawBufferPointer(block.entries)) }
                    #expect(same, "what leaves changed under way")
                }
                for (block, values) in zip(incoming, received) { _ = block.entries.update(from: values) }
            }
        }
    }
}

private final class EagerExchange: PendingExchange {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
    }

    func wait() { body() }
}
