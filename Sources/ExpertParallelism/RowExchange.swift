import Layers
import MessagePassing
import Tensors

/// Moves rows to the experts' ranks and back, as a `DispatchLayout` says. Rows that stay on their rank are copied once and
/// do not pass through the communicator.
struct RowExchange {
    let layout: DispatchLayout
    let context: ExpertParallelContext

    private var rank: Int { layout.rank }

    /// Counts of the rows that travel: the own rank's are left out.
    private func travelling(_ counts: [Int], times columns: Int) -> [Int] {
        var counts = counts.map { $0 * columns }
        counts[rank] = 0
        return counts
    }

    /// First row from or to each rank when the own rank's are left out.
    private func offsets(_ counts: [Int]) -> [Int] {
        var offsets = [Int]()
        var total = 0
        for (other, count) in counts.enumerated() {
            offsets.append(total)
            if other != rank { total += count }
        }
        return offsets
    }

    /// Brings rows of this rank's tokens to the experts.
    /// - Parameters:
    ///   - source: (T, D)
    ///   - scales: a factor for each row to send, M entries; nil: 1.
    /// - Returns: the rows that arrived, ordered by expert, (R, D).
    func dispatch(_ source: Tensor, scales: [Float]? = nil) throws -> Tensor {
        let columns = source.columns
        let arrived = Tensor(rows: layout.receivedCount, columns: columns)
        let own = layout.ownRows

        let sent = Tensor(rows: layout.sentCount - own.count, columns: columns)
        gather(source, 0..<own.lowerBound, scales: scales, into: sent.rows(0..<own.lowerBound))
        gather(
            source, own.upperBound..<layout.sentCount, scales: scales,
            into: sent.rows(own.lowerBound..<sent.rows))
        for block in layout.blocks where block.source == rank {
            let first = own.lowerBound + block.offset
            gather(source, first..<first + block.rows.count, scales: scales, into: arrived.rows(block.rows))
        }

        let received = try exchange(
            sent, counts: layout.sendCounts, receiveCounts: layout.receiveCounts)
        let offsets = offsets(layout.receiveCounts)
        for block in layout.blocks where block.source != rank {
            let first = offsets[block.source] + block.offset
            arrived.rows(block.rows).copy(from: received.rows(first..<first + block.rows.count))
        }
        return arrived
    }

    /// Brings results of the experts back to the tokens' ranks.
    /// - Parameter results: ordered by expert, (R, D).
    /// - Returns: one row for each row that this rank had sent, in that order, (M, D).
    func combine(_ results: Tensor) throws -> Tensor {
        let columns = results.columns
        let own = layout.ownRows
        let returned = Tensor(rows: layout.sentCount, columns: columns)
        let offsets = offsets(layout.receiveCounts)
        let sent = Tensor(rows: layout.receivedCount - layout.receiveCounts[rank], columns: columns)
        for block in layout.blocks {
            let rows = results.rows(block.rows)
            if block.source == rank {
                let first = own.lowerBound + block.offset
                returned.rows(first..<first + block.rows.count).copy(from: rows)
            } else {
                let first = offsets[block.source] + block.offset
                sent.rows(first..<first + block.rows.count).copy(from: rows)
            }
        }
        let received = try exchange(
            sent, counts: layout.receiveCounts, receiveCounts: layout.sendCounts)
        returned.rows(0..<own.lowerBound).copy(from: received.rows(0..<own.lowerBound))
        returned.rows(own.upperBound..<layout.sentCount).copy(from: received.rows(own.lowerBound..<received.rows))
        return returned
    }

    private func gather(_ source: Tensor, _ rows: Range<Int>, scales: [Float]?, into destination: Tensor) {
        if rows.isEmpty { return }
        Rows.gather(source, indices: Array(layout.sentTokens[rows]), into: destination)
        if let scales { Rows.scale(destination, by: Array(scales[rows]), into: destination) }
    }

    private func exchange(_ sent: Tensor, counts: [Int], receiveCounts: [Int]) throws -> Tensor {
        let columns = sent.columns
        let receiveCounts = travelling(receiveCounts, times: columns)
        let received = Tensor(rows: columns == 0 ? 0 : receiveCounts.reduce(0, +) / columns, columns: columns)
        if context.communicator.size > 1 {
            var target = received.mutableSpan
            try context.communicator.allToAll(
                sent.span, sendCounts: travelling(counts, times: columns), into: &target, receiveCounts: receiveCounts)
            context.countSent(sent.count, of: Float.self)
        }
        return received
    }
}
