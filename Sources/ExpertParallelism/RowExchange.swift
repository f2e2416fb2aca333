import Layers
import MessagePassing
import Tensors

/// Moves rows to the experts' ranks and back, as a `DispatchLayout` says. Rows that stay on their rank are gathered into
/// their places and do not pass through the communicator.
struct RowExchange {
    let layout: DispatchLayout
    let context: ExpertParallelContext

    /// Brings rows of this rank's tokens to the experts.
    /// - Parameters:
    ///   - source: (T, D)
    ///   - prepare: may change rows after they were gathered; gets their list, the rows, and their places when they stay.
    /// - Returns: the rows that arrived, ordered by expert, (R, D).
    func dispatch(
        _ source: Tensor, prepare: (RowList, Tensor, Range<Int>?) -> Void = { _, _, _ in }
    ) throws -> Tensor {
        let arrived = Tensor(rows: layout.receivedCount, columns: source.columns)
        for (list, places) in layout.staying {
            let rows = arrived.rows(places)
            Rows.gather(source, indices: list.tokens, into: rows)
            prepare(list, rows, places)
        }
        guard context.communicator.size > 1 else { return arrived }

        let sent = Tensor(rows: layout.leaving.count, columns: source.columns)
        Rows.gather(source, indices: layout.leaving.tokens, into: sent)
        prepare(layout.leaving, sent, nil)
        let received = try exchange(sent, counts: layout.sendCounts, receiveCounts: layout.receiveCounts)
        for (range, places) in layout.arriving { arrived.rows(places).copy(from: received.rows(range)) }
        return arrived
    }

    /// Brings results of the experts back to the tokens' ranks.
    /// - Parameter results: ordered by expert, (R, D).
    /// - Returns: a row for each that left this rank, in the order of `leaving`.
    func combine(_ results: Tensor) throws -> Tensor {
        guard context.communicator.size > 1 else { return Tensor(rows: 0, columns: results.columns) }
        let sent = Tensor(rows: layout.receiveCounts.reduce(0, +), columns: results.columns)
        for (range, places) in layout.arriving { sent.rows(range).copy(from: results.rows(places)) }
        return try exchange(sent, counts: layout.receiveCounts, receiveCounts: layout.sendCounts)
    }

    /// Adds the results of all of this rank's rows to their tokens.
    /// - Parameters:
    ///   - results: of this rank's experts, (R, D).
    ///   - returned: from other ranks.
    ///   - weighted: whether rows are multiplied with their routing weights.
    ///   - y: (T, D), added to.
    func add(_ results: Tensor, _ returned: Tensor, weighted: Bool, into y: Tensor) {
        for (list, places) in layout.staying {
            Rows.scatterAdd(
                results.rows(places), indices: list.tokens, scales: weighted ? list.weights : nil, into: y)
        }
        let list = layout.leaving
        Rows.scatterAdd(returned, indices: list.tokens, scales: weighted ? list.weights : nil, into: y)
    }

    private func exchange(_ sent: Tensor, counts: [Int], receiveCounts: [Int]) throws -> Tensor {
        let columns = sent.columns
        let received = Tensor(rows: receiveCounts.reduce(0, +), columns: columns)
        var target = received.mutableSpan
        try context.communicator.allToAll(
            sent.span, sendCounts: counts.map { $0 * columns }, into: &target,
            receiveCounts: receiveCounts.map { $0 * columns })
        context.countSent(sent.count, of: Float.self)
        return received
    }
}
