import ExpertPlacement
import MessagePassing
import Tensors

/// Carries out neuron transfers over the communicator. Neurons leave from where they lie.
struct NeuronExchange {
    /// What this rank sends, by destination, and what it gets, by source, in one exchange.
    private struct Round {
        var outgoing: [NeuronTransfer]
        var incoming: [NeuronTransfer]
    }

    /// The most that a rank sends, and that it receives, in one exchange of `add`. A buffer of that size is all it takes, however
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
                outgoing: Array(sent.joined()), incoming: Array(received.joined()))
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

    /// Adds what leaves to what is there, some at a time. Collective.
    /// - Parameters:
    ///   - read: the neurons of a transfer that leaves, (n, columns).
    ///   - target: what those of a transfer that arrives are added to, (n, columns).
    func add(
        context: ExpertParallelContext, read: (NeuronTransfer) -> Tensor, target: (NeuronTransfer) -> Tensor
    ) throws {
        for round in rounds { try start(context: context, [round], read: read).add(to: target) }
    }

    /// Begins to do so with all at once, which takes memory for all that arrives. Collective.
    /// - Parameter read: nobody may change what it returns before the exchange is done.
    func startSum(context: ExpertParallelContext, read: (NeuronTransfer) -> Tensor) throws -> NeuronSum {
        try start(context: context, rounds, read: read)
    }

    private func start(
        context: ExpertParallelContext, _ rounds: [Round], read: (NeuronTransfer) -> Tensor
    ) throws -> NeuronSum {
        let incoming = rounds.flatMap(\.incoming)
        let received = Tensor(rows: incoming.reduce(0) { $0 + $1.neurons.count }, columns: columns)
        var row = 0
        let arriving = incoming.map { transfer in
            defer { row += transfer.neurons.count }
            return (transfer: transfer, rows: received.rows(row..<row + transfer.neurons.count))
        }
        return NeuronSum(
            exchange: try start(
                context: context, leaving: rounds.flatMap(\.outgoing).map { ($0.destination, read($0)) },
                arriving: arriving.map { ($0.transfer.source, $0.rows) }),
            arriving: arriving)
    }

    /// Begins to copy what leaves to where it belongs. Collective.
    /// - Parameters:
    ///   - read: nobody may change what it returns before the exchange is done.
    ///   - target: nobody may read what it returns before.
    func startCopy(
        context: ExpertParallelContext, read: (NeuronTransfer) -> Tensor, target: (NeuronTransfer) -> Tensor
    ) throws -> (any PendingExchange)? {
        try start(
            context: context, leaving: rounds.flatMap(\.outgoing).map { ($0.destination, read($0)) },
            arriving: rounds.flatMap(\.incoming).map { ($0.source, target($0)) })
    }

    /// - Returns: nil when no rank sends anything.
    private func start(
        context: ExpertParallelContext, leaving: [(rank: Int, Tensor)], arriving: [(rank: Int, Tensor)]
    ) throws -> (any PendingExchange)? {
        if rounds.isEmpty { return nil }
        return try context.startExchange(leaving: leaving, arriving: arriving)
    }
}

/// Neurons on their way to where they are added.
struct NeuronSum {
    fileprivate let exchange: (any PendingExchange)?
    fileprivate let arriving: [(transfer: NeuronTransfer, rows: Tensor)]

    /// Waits for them, and adds them in the order of the transfers. Collective.
    func add(to target: (NeuronTransfer) -> Tensor) throws {
        try exchange?.wait()
        for (transfer, rows) in arriving { Rows.add(rows, into: target(transfer)) }
    }
}
