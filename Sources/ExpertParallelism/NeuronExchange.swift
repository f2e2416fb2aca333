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
        let sent = transfers.filter { $0.source == rank }
        let received = transfers.filter { $0.destination == rank }
        outgoing = (0..<size).flatMap { other in sent.filter { $0.destination == other } }
        incoming = (0..<size).flatMap { other in received.filter { $0.source == other } }
        sendCounts = (0..<size).map { other in
            sent.reduce(0) { $0 + ($1.destination == other ? $1.neurons.count : 0) }
        }
        receiveCounts = (0..<size).map { other in
            received.reduce(0) { $0 + ($1.source == other ? $1.neurons.count : 0) }
        }
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
