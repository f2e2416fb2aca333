/// Numbers as Unicode's block elements, for terminals.
package enum Blocks {
    private static let heights = Array(" ▁▂▃▄▅▆▇█")
    private static let widths = Array(" ▏▎▍▌▋▊▉█")
    private static let shades = Array(" ░▒▓█")

    /// A curve, a character for each value, or for the mean of neighbours where there are more values than columns.
    /// - Parameter range: from the lowest block to the highest; nil: the values'.
    package static func curve(_ values: [Double?], columns: Int, range: ClosedRange<Double>? = nil) -> String {
        let means = means(of: values, count: columns)
        let known = means.compactMap { $0 }
        guard let least = range?.lowerBound ?? known.min(), let largest = range?.upperBound ?? known.max() else {
            return ""
        }
        return String(
            means.map { value in
                guard let value else { return " " }
                // Halves, whose difference has an end.
                let part = largest > least ? (value / 2 - least / 2) / (largest / 2 - least / 2) : 0.5
                return heights[1 + Int((min(max(part, 0), 1) * 7).rounded())]
            })
    }

    /// As many means of neighbours as there is room for.
    private static func means(of values: [Double?], count: Int) -> [Double?] {
        guard count > 0 else { return [] }
        if values.count <= count { return values.map { $0?.isFinite == true ? $0 : nil } }
        return (0..<count).map { column in
            let part = values[column * values.count / count..<(column + 1) * values.count / count]
                .compactMap { $0?.isFinite == true ? $0 : nil }
            return part.isEmpty ? nil : part.reduce(0) { $0 + $1 / Double(part.count) }
        }
    }

    /// A bar of a part of `columns`, to an eighth of one, and blanks.
    package static func bar(_ part: Double, columns: Int) -> String {
        guard columns > 0 else { return "" }
        let eighths = part.isFinite ? Int((min(max(part, 0), 1) * Double(8 * columns)).rounded()) : 0
        let end = eighths % 8 == 0 ? "" : String(widths[eighths % 8])
        let bar = String(repeating: "█", count: eighths / 8) + end
        return bar + String(repeating: " ", count: columns - bar.count)
    }

    /// Darker, the more it is of what is even: shades end below 0.4, 0.8, 1.2 and 1.6 times that.
    package static func shade(_ ofMean: Double) -> Character {
        shades[ofMean.isFinite ? Int(min(max(ofMean, 0) / 0.4, 4)) : 0]
    }
}
