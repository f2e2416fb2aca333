import ExpertPlacement
import MessagePassing
import Tensors

/// Carries out neuron transfers over the communicator: one sparse exchange for all of them.
struct NeuronExchange {
    /// What this rank sends, by destination, and what it gets, by source; within one in the order of the list.
    private let outgoing: [NeuronTransfer]
    private let incoming: [NeuronTransfer]
    private let sendCounts: [Int]
    private let receiveCounts: [Int]
    private let isEmpty: Bool

    /// - Parameter transfers: those of all ranks, the same list on each.
    init(_ transfers: [NeuronTransfer], context: ExpertParallelContext) {
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        var sent = [[NeuronTransfer]](repeating: [], count: size)
        var received = sent
        for transfer in transfers {
            if transfer.source == rank { sent[transfer.destination].append(transfer) }
            if transfer.destination == rank { received[transfer.source].append(transfer) }
        }
        outgoing = Array(sent.joined())
        incoming = Array(received.joined())
        sendCounts = sent.map { $0.reduce(0) { $0 + $1.neurons.count } }
        receiveCounts = received.map { $0.reduce(0) { $0 + $1.neurons.count } }
        isEmpty = transfers.isEmpty
    }

    /// - Parameters:
    ///   - columns: entries a neuron.
    ///   - read: the neurons of a transfer that leaves, (n, columns).
    ///   - deliver: takes the neurons of a transfer that arrived, (n, columns).
    func run(
        columns: Int, context: ExpertParallelContext,
        read: (NeuronTransfer) -> Tensor, deliver: (NeuronTransfer, Tensor) -> Void
    ) throws {
        if isEmpty { return }
        let sent = Tensor(rows: sendCounts.reduce(0, +), columns: columns)
        let received = Tensor(rows: receiveCounts.reduce(0, +), columns: columns)
        var row = 0
        for transfer in outgoing {
            sent.rows(row..<row + transfer.neurons.count).copy(from: read(transfer))
            row += transfer.neurons.count
        }
        var target = received.mutableSpan
        try context.communicator.allToAll(
            sent.span, sendCounts: sendCounts.map { $0 * columns },
            into: &target, receiveCounts: receiveCounts.map { $0 * columns })
        context.countSent(sent.count, of: Float.self)
        row = 0
        for transfer in incoming {
            deliver(transfer, received.rows(row..<row + transfer.neurons.count))
            row += transfer.neurons.count
        }
    }
}
