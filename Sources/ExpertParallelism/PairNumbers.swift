import MessagePassing
import Tensors

/// Brings a number of each pair back to the pair's rank.
struct PairNumbers {
    private let layout: DispatchLayout
    private let returned: Tensor
    private let exchange: any PendingExchange

    /// Begins to. Collective.
    /// - Parameter numbers: of the pairs that came, (N, 1).
    init(_ numbers: Tensor, _ layout: DispatchLayout, context: ExpertParallelContext) throws {
        self.layout = layout
        let rank = context.communicator.rank
        let returned = Tensor(rows: layout.pairs.count, columns: 1)
        returned.rows(layout.leavingPairs[rank]).copy(from: numbers.rows(layout.arrivingPairs[rank]))
        func parts(_ values: Tensor, _ ranges: [Range<Int>]) -> [(rank: Int, values: Tensor)] {
            context.communicator.otherRanks.filter { !ranges[$0].isEmpty }.map { ($0, values.rows(ranges[$0])) }
        }
        exchange = try context.startExchange(
            leaving: parts(numbers, layout.arrivingPairs), arriving: parts(returned, layout.leavingPairs))
        self.returned = returned
    }

    /// Adds up what the ranks of each routing row have for it, in the order of the ranks. Collective.
    /// - Parameter count: of routing rows.
    func sum(count: Int) throws -> [Float] {
        try exchange.wait()
        var sums = [Float](repeating: 0, count: count)
        let (rows, values) = (layout.pairs.span, returned.span)
        for pair in rows.indices { sums[Int(rows[pair])] += values[pair] }
        return sums
    }
}
