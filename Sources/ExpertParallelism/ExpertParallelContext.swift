import Layers
import MessagePassing
import Tensors

/// What the expert groups of one rank share: the ranks that tokens are routed among, the step they are in, and what was
/// measured.
public final class ExpertParallelContext {
    /// The group of ranks that tokens are routed among.
    public let communicator: any Communicator
    /// Takes the seconds of dispatch, experts and combine.
    public let timer: PhaseTimer
    /// What travels while this rank computes.
    public let overlap: Overlap
    /// Of the noise in routers.
    public let seed: UInt64
    /// Training step (or the number of an evaluation batch), which seeds the choice of replicas.
    public var step = 0
    /// Index in the global batch of this rank's first token of the current micro-batch.
    public var firstToken = 0
    /// Bytes sent to other ranks since `takeBytesSent`.
    private var bytesSent = 0

    public init(
        communicator: any Communicator, timer: PhaseTimer = PhaseTimer(), overlap: Overlap = [], seed: UInt64 = 0
    ) {
        self.communicator = communicator
        self.timer = timer
        self.overlap = overlap
        self.seed = seed
    }

    /// Called now and then between long computations, while messages may be under way.
    public func letMessagesGoOn() throws {
        if overlap.isEmpty || communicator.size == 1 { return }
        try communicator.progress()
    }

    /// Adds to the bytes sent to other ranks.
    func countSent<Element: MessageElement>(_ count: Int, of: Element.Type) {
        bytesSent += count * MemoryLayout<Element>.stride
    }

    /// Begins to send tensors, and to receive others, and counts what leaves. Collective.
    /// - Parameters:
    ///   - leaving: contiguous; nobody may change them before the exchange is done. From one rank to another as many as `arriving`
    ///     has there, of the same sizes, in the same order.
    ///   - arriving: contiguous; nobody may read them before.
    ///   - group: which ranks; nil: those that tokens are routed among.
    func startExchange(
        leaving: [(rank: Int, values: Tensor)], arriving: [(rank: Int, values: Tensor)],
        among group: (any Communicator)? = nil
    ) throws -> any PendingExchange {
        countSent(leaving.reduce(0) { $0 + $1.values.count }, of: Float.self)
        return try (group ?? communicator).startExchange(
            leaving.map { OutgoingBlock($0.values.span, to: $0.rank) },
            arriving.map { place in
                var span = place.values.mutableSpan
                return IncomingBlock(&span, from: place.rank)
            }, keeping: (leaving, arriving))
    }

    /// Sends to each rank its part of `values`, in rank order, and returns what comes, in rank order, and counts what leaves. Collective.
    func allToAll<Element: MessageElement>(
        _ values: [Element], sendCounts: [Int], receiveCounts: [Int]
    ) throws -> [Element] {
        countSent(values.count - sendCounts[communicator.rank], of: Element.self)
        var received = [Element](repeating: .zero, count: receiveCounts.reduce(0, +))
        var target = received.mutableSpan
        try communicator.allToAll(values.span, sendCounts: sendCounts, into: &target, receiveCounts: receiveCounts)
        return received
    }

    /// Returns the bytes sent since the last call, and starts again at zero.
    public func takeBytesSent() -> Int {
        defer { bytesSent = 0 }
        return bytesSent
    }
}
