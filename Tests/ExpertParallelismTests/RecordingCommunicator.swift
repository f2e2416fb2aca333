import MessagePassing

/// Counts the exchanges that are under way: begun, and not waited for.
final class RecordingCommunicator: ForwardingCommunicator {
    private(set) var begun = 0
    private(set) var done = 0
    /// At once, since `takeMost`.
    private var most = 0

    var underWay: Int { begun - done }

    /// Returns how many were under way at once since the last call, and starts again at zero.
    func takeMost() -> Int {
        defer { most = 0 }
        return most
    }

    override func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        let exchange = try super.startExchange(outgoing, incoming, keeping: memory)
        begun += 1
        most = max(most, underWay)
        return RecordedExchange(exchange) { [self] in done += 1 }
    }
}

private final class RecordedExchange: PendingExchange {
    private let inner: any PendingExchange
    private let isDone: () -> Void

    init(_ inner: any PendingExchange, isDone: @escaping () -> Void) {
        self.inner = inner
        self.isDone = isDone
    }

    func wait() throws {
        try inner.wait()
        isDone()
    }
}
