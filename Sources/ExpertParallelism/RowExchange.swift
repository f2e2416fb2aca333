import Layers
import MessagePassing
import Tensors

/// Moves rows to the experts' ranks and back, as a `DispatchLayout` says. Rows that stay on their rank are gathered into
/// their places and do not pass through the communicator; others arrive in theirs.
struct RowExchange {
    let layout: DispatchLayout
    let context: ExpertParallelContext

    /// Rows, some of which are under way.
    struct Transfer {
        fileprivate let rows: Tensor
        fileprivate let exchange: (any PendingExchange)?

        /// All rows, when they are there. Collective.
        func wait() throws -> Tensor {
            try exchange?.wait()
            return rows
        }
    }

    /// Brings rows of this rank's tokens to the experts.
    /// - Parameters:
    ///   - source: (T, D)
    ///   - prepare: may change rows after they were gathered; gets their list, the rows, and their places when they stay.
    /// - Returns: the rows that arrive, ordered by expert, (R, D).
    func dispatch(
        _ source: Tensor, prepare: (RowList, Tensor, Range<Int>?) -> Void = { _, _, _ in }
    ) throws -> Transfer {
        let arrived = Tensor(rows: layout.receivedCount, columns: source.columns)
        var exchange: (any PendingExchange)?
        if context.communicator.size > 1 {
            let sent = Tensor(rows: layout.leaving.count, columns: source.columns)
            Rows.gather(source, indices: layout.leaving.tokens, into: sent)
            prepare(layout.leaving, sent, nil)
            exchange = try start(sent, layout.departures, arrived, layout.arrivals)
        }
        for (list, places) in layout.staying {
            let rows = arrived.rows(places)
            Rows.gather(source, indices: list.tokens, into: rows)
            prepare(list, rows, places)
        }
        for places in layout.padding { arrived.rows(places).fill(0) }
        return Transfer(rows: arrived, exchange: exchange)
    }

    /// Brings results of the experts back to the tokens' ranks.
    /// - Parameter results: ordered by expert, (R, D). Nobody may change them before the transfer is done.
    /// - Returns: a row for each that left this rank, in the order of `leaving`.
    func combine(_ results: Tensor) throws -> Transfer {
        let returned = Tensor(rows: layout.leaving.count, columns: results.columns)
        guard context.communicator.size > 1 else { return Transfer(rows: returned, exchange: nil) }
        return Transfer(
            rows: returned,
            exchange: try start(results, layout.arrivals, returned, layout.departures))
    }

    /// Adds the results of rows that stayed to their tokens.
    /// - Parameters:
    ///   - results: of this rank's experts, (R, D).
    ///   - weighted: whether rows are multiplied with their routing weights.
    ///   - y: (T, D), added to.
    func addStaying(_ results: Tensor, weighted: Bool, into y: Tensor) {
        for (list, places) in layout.staying {
            Rows.scatterAdd(
                results.rows(places), indices: list.tokens, scales: weighted ? list.weights : nil, into: y)
        }
    }

    /// Adds the results of rows that returned from one rank.
    /// - Parameter returned: of all that left.
    func addReturned(_ returned: Tensor, from rank: Int, weighted: Bool, into y: Tensor) {
        let rows = layout.leaving(to: rank)
        if rows.isEmpty { return }
        let list = layout.leaving.part(rows)
        Rows.scatterAdd(
            returned.rows(rows), indices: list.tokens, scales: weighted ? list.weights : nil, into: y)
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
