import Layers
import MessagePassing
import Tensors

/// Moves rows to the experts' ranks and their results back, chunk by chunk, as a `DispatchLayout` says. Rows that stay on their rank
/// do not pass through the communicator.
final class RowExchange {
    private let layout: DispatchLayout
    private let context: ExpertParallelContext
    /// Entries of a row, D.
    private let columns: Int
    /// Rows that came from other ranks. All chunks copy from it, also what came with an earlier one.
    private var received: Tensor?
    /// Sums of results that go back to them.
    private var sums: Tensor?
    /// Sums that came back.
    private var returned: Tensor?
    private var underWay = [any PendingExchange]()

    init(_ layout: DispatchLayout, columns: Int, context: ExpertParallelContext) {
        self.layout = layout
        self.columns = columns
        self.context = context
    }

    private var isAlone: Bool { context.communicator.size == 1 }

    /// A chunk's rows, some of which are under way.
    struct Transfer {
        fileprivate let chunk: Int
        fileprivate let rows: Tensor
        fileprivate let exchange: (any PendingExchange)?
    }

    /// Brings rows of this rank's tokens to the experts of a chunk.
    /// - Parameter source: (T, D)
    func dispatch(_ chunk: Int, of source: Tensor) throws -> Transfer {
        let part = layout.chunks[chunk]
        var exchange: (any PendingExchange)?
        if !isAlone {
            let sent = Tensor(rows: part.leaving.count, columns: columns)
            Rows.gather(source, indices: part.leaving, into: sent)
            let target = received ?? Tensor(rows: layout.arrivingRowCount, columns: columns)
            received = target
            exchange = try start(sent, part.departures, target, part.arrivals)
        }
        let rows = Tensor(rows: part.places.count, columns: columns)
        for run in part.places.runs where run.isOwn {
            Rows.gather(source, indices: run.rows, into: rows.rows(run.places))
        }
        for places in part.places.padding { rows.rows(places).fill(0) }
        return Transfer(chunk: chunk, rows: rows, exchange: exchange)
    }

    /// The rows of a chunk, ordered by expert, (R, D), when they are there. Collective.
    func finish(_ transfer: Transfer) throws -> Tensor {
        try transfer.exchange?.wait()
        if let received {
            for run in layout.chunks[transfer.chunk].places.runs where !run.isOwn {
                Rows.gather(received, indices: run.rows, into: transfer.rows.rows(run.places))
            }
            if transfer.chunk == layout.chunks.count - 1 { self.received = nil }
        }
        return transfer.rows
    }

    /// Adds up a chunk's results for other ranks' tokens, and sends back the sums that have all their parts.
    /// - Parameters:
    ///   - results: ordered by expert, (R, D).
    ///   - weighted: whether rows are multiplied with their routing weights.
    func combine(_ chunk: Int, _ results: Tensor, weighted: Bool) throws {
        if isAlone { return }
        let part = layout.chunks[chunk]
        let sums = sums ?? Tensor(rows: layout.arrivingRowCount, columns: columns, repeating: 0)
        let returned = returned ?? Tensor(rows: layout.leavingRowCount, columns: columns)
        (self.sums, self.returned) = (sums, returned)
        add(results, of: part, own: false, weighted: weighted, to: sums)
        underWay.append(try start(sums, part.sumDepartures, returned, part.sumArrivals))
    }

    /// Adds all chunks' results to this rank's tokens, in an order that does not depend on the chunks: of rows that stayed, by expert,
    /// while the others are under way, then those of each rank. Collective.
    /// - Parameters:
    ///   - results: of each chunk, (R, D).
    ///   - y: (T, D), added to.
    func finish(_ results: [Tensor], weighted: Bool, into y: Tensor) throws {
        for (part, results) in zip(layout.chunks, results) {
            try context.letMessagesGoOn()
            add(results, of: part, own: true, weighted: weighted, to: y)
        }
        for exchange in underWay { try exchange.wait() }
        (underWay, sums) = ([], nil)
        guard let returned else { return }
        for (rows, tokens) in layout.returns {
            Rows.scatterAdd(returned.rows(rows), indices: tokens, scales: nil, into: y)
        }
        self.returned = nil
    }

    private func add(_ results: Tensor, of part: DispatchLayout.Chunk, own: Bool, weighted: Bool, to y: Tensor) {
        for run in part.places.runs where run.isOwn == own {
            Rows.scatterAdd(
                results.rows(run.places), indices: run.targets, scales: weighted ? run.weights : nil, into: y)
        }
    }

    /// Sends parts of `sent`, and receives into parts of `received`.
    private func start(
        _ sent: Tensor, _ leaving: [(rank: Int, rows: Range<Int>)], _ received: Tensor,
        _ arriving: [(rank: Int, rows: Range<Int>)]
    ) throws -> any PendingExchange {
        try context.startExchange(
            leaving: leaving.map { ($0.rank, sent.rows($0.rows)) },
            arriving: arriving.map { ($0.rank, received.rows($0.rows)) })
    }
}
