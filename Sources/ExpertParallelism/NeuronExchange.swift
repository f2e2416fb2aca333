import ExpertPlacement
import MessagePassing
import Tensors

/// Carries out neuron transfers over the communicator: one sparse exchange for all of them.
struct NeuronExchange {
    /// A transfer with its place in the list.
    typealias Item = (index: Int, transfer: NeuronTransfer)

    /// What this rank sends, by destination, and what it gets, by source; within one in the order of the list.
    let outgoing: [Item]
    let incoming: [Item]
    private let sendCounts: [Int]
    private let receiveCounts: [Int]
    private let isEmpty: Bool

    /// - Parameter transfers: those of all ranks, the same list on each.
    init(_ transfers: [NeuronTransfer], context: ExpertParallelContext) {
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        var sent = [[Item]](repeating: [], count: size)
        var received = sent
        for item in transfers.enumerated().map({ (index: $0.offset, transfer: $0.element) }) {
            if item.transfer.source == rank { sent[item.transfer.destination].append(item) }
            if item.transfer.destination == rank { received[item.transfer.source].append(item) }
        }
        outgoing = Array(sent.joined())
        incoming = Array(received.joined())
        sendCounts = sent.map { $0.reduce(0) { $0 + $1.transfer.neurons.count } }
        receiveCounts = received.map { $0.reduce(0) { $0 + $1.transfer.neurons.count } }
        isEmpty = transfers.isEmpty
    }

    /// - Parameters:
    ///   - columns: entries a neuron.
    ///   - read: the neurons of a transfer that leaves, (n, columns).
    ///   - deliver: takes the neurons of a transfer that arrived, (n, columns).
    func run(
        columns: Int, context: ExpertParallelContext,
        read: (Item) -> Tensor, deliver: (Item, Tensor) -> Void
    ) throws {
        if isEmpty { return }
        let sent = Tensor(rows: sendCounts.reduce(0, +), columns: columns)
        let received = Tensor(rows: receiveCounts.reduce(0, +), columns: columns)
        var row = 0
        for item in outgoing {
            let rows = row..<row + item.transfer.neurons.count
            sent.rows(rows).copy(from: read(item))
            row = rows.upperBound
        }
        var target = received.mutableSpan
        try context.communicator.allToAll(
            sent.span, sendCounts: sendCounts.map { $0 * columns },
            into: &target, receiveCounts: receiveCounts.map { $0 * columns })
        context.countSent(sent.count, of: Float.self)
        row = 0
        for item in incoming {
            let rows = row..<row + item.transfer.neurons.count
            deliver(item, received.rows(rows))
            row = rows.upperBound
        }
    }
}
