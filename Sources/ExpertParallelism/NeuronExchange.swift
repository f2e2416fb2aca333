import ExpertPlacement
import MessagePassing
import Tensors

/// Carries out neuron transfers over the communicator: sparse exchanges, as many as it takes for none to be large.
struct NeuronExchange {
    /// What this rank sends, by destination, and what it gets, by source, in one exchange.
    private struct Round {
        var outgoing: [NeuronTransfer]
        var incoming: [NeuronTransfer]
        var sendCounts: [Int]
        var receiveCounts: [Int]
    }

    /// The most that a rank sends, and that it receives, in one exchange. Two buffers of that size are all it takes, however
    /// large the experts are.
    static let roundBytes = 4 << 20

    private let rounds: [Round]
    private let columns: Int

    /// - Parameters:
    ///   - transfers: those of all ranks, the same list on each.
    ///   - columns: entries a neuron.
    init(_ transfers: [NeuronTransfer], columns: Int, context: ExpertParallelContext) {
        self.columns = columns
        let limit = max(1, Self.roundBytes / (columns * MemoryLayout<Float>.stride))
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        rounds = Self.divided(transfers, neuronLimit: limit, worldSize: size).map { transfers in
            // Within one rank in the order of the list.
            var sent = [[NeuronTransfer]](repeating: [], count: size)
            var received = sent
            for transfer in transfers {
                if transfer.source == rank { sent[transfer.destination].append(transfer) }
                if transfer.destination == rank { received[transfer.source].append(transfer) }
            }
            return Round(
                outgoing: Array(sent.joined()), incoming: Array(received.joined()),
                sendCounts: sent.map { $0.reduce(0) { $0 + $1.neurons.count } },
                receiveCounts: received.map { $0.reduce(0) { $0 + $1.neurons.count } })
        }
    }

    /// The transfers in pieces, each in the first round in which both its ranks have room for it.
    private static func divided(
        _ transfers: [NeuronTransfer], neuronLimit: Int, worldSize: Int
    ) -> [[NeuronTransfer]] {
        var rounds = [[NeuronTransfer]]()
        // [round][rank]
        var (sent, received) = ([[Int]](), [[Int]]())
        for transfer in transfers {
            let (source, destination) = (transfer.source, transfer.destination)
            var rest = transfer.neurons
            var round = 0
            while !rest.isEmpty {
                if round == rounds.count {
                    rounds.append([])
                    sent.append([Int](repeating: 0, count: worldSize))
                    received.append([Int](repeating: 0, count: worldSize))
                }
                let room = neuronLimit - max(sent[round][source], received[round][destination])
                let piece = rest.prefix(room)
                if !piece.isEmpty {
                    rounds[round].append(
                        NeuronTransfer(
                            expert: transfer.expert, neurons: piece, source: source, destination: destination))
                    sent[round][source] += piece.count
                    received[round][destination] += piece.count
                    rest = rest.dropFirst(piece.count)
                }
                round += 1
            }
        }
        return rounds
    }

    /// - Parameters:
    ///   - read: the neurons of a transfer that leaves, (n, columns).
    ///   - deliver: takes the neurons of a transfer that arrived, (n, columns).
    func run(
        context: ExpertParallelContext,
        read: (NeuronTransfer) -> Tensor, deliver: (NeuronTransfer, Tensor) -> Void
    ) throws {
        for round in rounds {
            let sent = Tensor(rows: round.sendCounts.reduce(0, +), columns: columns)
            let received = Tensor(rows: round.receiveCounts.reduce(0, +), columns: columns)
            var row = 0
            for transfer in round.outgoing {
                let rows = row..<row + transfer.neurons.count
                sent.rows(rows).copy(from: read(transfer))
                row = rows.upperBound
            }
            var target = received.mutableSpan
            try context.communicator.allToAll(
                sent.span, sendCounts: round.sendCounts.map { $0 * columns },
                into: &target, receiveCounts: round.receiveCounts.map { $0 * columns })
            context.countSent(sent.count, of: Float.self)
            row = 0
            for transfer in round.incoming {
                let rows = row..<row + transfer.neurons.count
                deliver(transfer, received.rows(rows))
                row = rows.upperBound
            }
        }
    }
}
