import MessagePassing

/// Flips a bit of what one rank receives.
final class CorruptingCommunicator: ForwardingCommunicator {
    /// Entry of the first large enough `allToAll` of floats that is changed; nil: none any more.
    private var entry: Int?

    init(_ inner: any Communicator, entry: Int?) {
        self.entry = entry
        super.init(inner)
    }

    override func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        try super.allToAll(values, sendCounts: sendCounts, into: &received, receiveCounts: receiveCounts)
        guard let place = entry, received.count > place, Element.messageType == .float else { return }
        entry = nil
        received.withUnsafeMutableBufferPointer { buffer in
            UnsafeMutableRawBufferPointer(buffer)[place * MemoryLayout<Float>.stride] ^= 1
        }
    }
}
