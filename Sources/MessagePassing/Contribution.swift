/// What one rank of a `ThreadCommunicator` brings to a collective call, for the other ranks to check and read.
struct Contribution {
    enum Call: Equatable {
        case barrier
        case broadcast(root: Int)
        case allReduce(Reduction)
        case allGather, allToAll, split
    }

    var call: Call
    var type: MessageType?
    /// What must be the same on all ranks: the count, or one count for each rank.
    var counts = [Int]()
    /// For `allToAll`: entries to and from each rank.
    var sendCounts = [Int]()
    var receiveCounts = [Int]()
    /// For `split`.
    var color = 0
    var key = 0
    /// The rank's entries, valid until all ranks have left the call.
    var source: UnsafeRawPointer?

    /// The name of the call, as messages have it.
    var name: String {
        switch call {
        case .barrier: "barrier"
        case .broadcast: "broadcast"
        case .allReduce: "allReduce"
        case .allGather: "allGather"
        case .allToAll: "allToAll"
        case .split: "split"
        }
    }

    private var summary: String {
        var text = "\(call)"
        if let type { text += " of \(type)" }
        if !counts.isEmpty { text += " with counts \(counts)" }
        return text
    }

    /// What does not fit together; the same on all ranks, since all look at the same contributions.
    static func mismatch(in all: [Contribution]) -> CommunicatorError? {
        let first = all[0]
        for (rank, other) in all.enumerated() {
            guard other.call == first.call, other.type == first.type, other.counts == first.counts else {
                return .mismatch(
                    call: first.name, reason: "rank 0 calls \(first.summary), rank \(rank) \(other.summary)")
            }
        }
        guard first.call == .allToAll else { return nil }
        for (source, sender) in all.enumerated() {
            for (destination, receiver) in all.enumerated()
            where sender.sendCounts[destination] != receiver.receiveCounts[source] {
                return .mismatch(
                    call: first.name,
                    reason: "rank \(source) sends \(sender.sendCounts[destination]) entries to rank \(destination), "
                        + "which expects \(receiver.receiveCounts[source])")
            }
        }
        return nil
    }
}
