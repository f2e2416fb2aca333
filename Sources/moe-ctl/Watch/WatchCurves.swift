import ControlProtocol
import Listings

/// Curves of what came with the intervals, one above the other.
struct WatchCurves {
    private struct Curve {
        let name: String
        let values: [Double?]
        let text: (Double?) -> String

        private var known: [Double] { values.compactMap { $0 } }
        var last: String { known.last.map { " \(text($0))" } ?? "" }
        var range: String {
            guard let least = known.min(), let largest = known.max() else { return "" }
            return " of \(text(least)) to \(text(largest))"
        }
    }

    private static let nameColumns = 10
    private static let leastColumns = 10
    private let curves: [Curve]

    init(_ run: WatchedRun) {
        let droppedShares = run.intervals.map(\.droppedShare)
        let dropped = Curve(name: "dropped", values: droppedShares) { Readable.part($0, of: 1) }
        // Experts that take all tokens that come have none.
        let isDropping = droppedShares.contains { $0 != nil }
        curves =
            [
                Curve(name: "loss", values: run.intervals.map(\.loss), text: Readable.loss),
                Curve(name: "tokens/s", values: run.wholeIntervals.map(\.tokensPerSecond), text: Readable.load),
                Curve(name: "balance", values: run.wholeIntervals.map(\.balance), text: Readable.balance),
            ] + (isDropping ? [dropped] : [])
    }

    /// All as long, with the ranges where there is room for all of them.
    func lines(columns: Int) -> [StyledLine] {
        let room = columns - Self.nameColumns
        let withRanges = room - (curves.map { $0.last.count + $0.range.count }.max() ?? 0)
        let hasRanges = withRanges >= Self.leastColumns
        let length = hasRanges ? withRanges : max(Self.leastColumns, room - (curves.map(\.last.count).max() ?? 0))
        return curves.map { curve in
            var line = StyledLine(WatchPage.padded(curve.name, Self.nameColumns))
            guard !curve.last.isEmpty else {
                line.add("nothing reported yet", .faint)
                return line
            }
            line.add(Blocks.curve(curve.values, columns: length), .color(75))
            line.add(curve.last, .bold)
            if hasRanges { line.add(curve.range, .faint) }
            return line
        }
    }
}
