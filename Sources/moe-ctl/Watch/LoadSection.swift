import ControlProtocol
import Listings

/// A heat map of the experts' tokens, a row for each layer: neighbours share a place when there are more than places, and the one
/// with the most is shown.
struct LoadSection: WatchSection {
    let loads: IntervalLoads?

    private var layers: [[Int]] { loads?.expertLoads ?? [] }
    var leastRows: Int { min(3, wantedRows) }
    var wantedRows: Int { layers.isEmpty ? 2 : 1 + layers.count }

    func lines(columns: Int, rows: Int) -> [StyledLine] {
        guard let loads, !layers.isEmpty else {
            return [StyledLine("LAYER", .bold), StyledLine("no expert's tokens were reported yet", .faint)]
        }
        return header(loads, columns: columns)
            + WatchPage.groups(layers.count, rows: rows - 1).map { group in
                var line = StyledLine(WatchPage.padded(Readable.ranges(Array(group)), 11))
                add(group.map { Self.ofMean(layers[$0]) }, to: &line, columns: max(1, columns - 20))
                let balance = group.compactMap { Self.balance(layers[$0]) }.min()
                line.add(" \(Readable.balance(balance))", .faint)
                return line
            }
    }

    private func header(_ loads: IntervalLoads, columns: Int) -> [StyledLine] {
        var legend = StyledLine("of the mean:", .faint)
        for (index, limit) in ["<0.4", "<0.8", "<1.2", "<1.6", "more"].enumerated() {
            let ratio = 0.2 + 0.4 * Double(index)
            legend.add(" \(Blocks.shade(ratio))", Self.color(ratio))
            legend.add(limit, .faint)
        }
        let steps = StyledLine("steps \(loads.firstStep) to \(loads.firstStep + loads.stepCount - 1)", .faint)
        let title = StyledLine(WatchPage.padded("LAYER", 11) + "TOKENS OF EXPERTS", .bold)
        return StyledLine.lines(of: [title, legend, steps], columns: columns, atMost: 1)
    }

    /// - Parameter layers: of the group, each expert's tokens in terms of the layer's mean.
    private func add(_ layers: [[Double]], to line: inout StyledLine, columns: Int) {
        let experts = layers.map(\.count).max() ?? 0
        let size = Self.share(experts, places: columns)
        let places = (experts + size - 1) / size
        // A few experts are wide, so that the map looks like one.
        let width = max(1, min(6, columns / max(1, places)))
        for place in 0..<places {
            let part = place * size..<min((place + 1) * size, experts)
            let most = layers.flatMap { $0[part.clamped(to: $0.indices)] }.max() ?? 0
            line.add(String(repeating: Blocks.shade(most), count: width), Self.color(most))
        }
    }

    private static func share(_ count: Int, places: Int) -> Int { max(1, (count + places - 1) / places) }

    private static func ofMean(_ loads: [Int]) -> [Double] {
        let sum = loads.reduce(0.0) { $0 + Double($1) }
        return loads.map { sum > 0 ? Double($0) * Double(loads.count) / sum : 0 }
    }

    /// Mean over largest; nil without tokens.
    private static func balance(_ loads: [Int]) -> Double? {
        ofMean(loads).max().flatMap { $0 > 0 ? 1 / $0 : nil }
    }

    /// From blue over grey to red.
    private static func color(_ ofMean: Double) -> StyledLine.Style {
        let colors: [UInt8] = [25, 67, 109, 250, 179, 173, 160]
        return .color(colors[Int(min(max(ofMean, 0) / 0.3, 6))])
    }
}
