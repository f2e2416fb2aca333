import Foundation

/// One chart's elements, from `top` down.
struct ChartDrawing {
    static let width = 720.0
    private static let plotHeight = 220.0
    private static let left = 64.0
    private static let right = 16.0
    private static let above = 34.0
    private static let below = 44.0
    private static let legendLine = 18.0
    /// Words of marks that are near each other stand below each other, in so many rows; of more the lines alone are drawn.
    private static let markRows = 4
    /// A series of more points is drawn by the least and the largest of neighbours.
    private static let mostPoints = 1400
    /// Points so few get a dot each.
    private static let fewPoints = 40

    /// Told apart by people who see colours differently (Okabe and Ito 2008), readable on light and dark ground.
    private static let colours = [
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c6bb1", "#7f7f7f",
    ]
    private static let dashes = ["", "7 3", "2 3", "9 3 2 3"]

    private let chart: LineChart
    private let top: Double
    private let series: [LineChart.Series]
    private let x: ChartScale
    private let y: ChartScale
    private let legend: [(text: String, x: Double, line: Int)]

    init(_ chart: LineChart, top: Double) {
        self.chart = chart
        self.top = top
        series = chart.series.map { series in
            LineChart.Series(
                series.name,
                series.points.filter {
                    $0.x.isFinite && $0.y.isFinite && (!chart.x.isLogarithmic || $0.x > 0)
                        && (!chart.y.isLogarithmic || $0.y > 0)
                })
        }
        let points = series.flatMap(\.points)
        x = ChartScale(points.map(\.x), isLogarithmic: chart.x.isLogarithmic, ticks: 8)
        y = ChartScale(points.map(\.y), isLogarithmic: chart.y.isLogarithmic, ticks: 5)
        legend = Self.legend(chart.series.map(\.name))
    }

    var height: Double {
        Self.above + Self.plotHeight + Self.below + Self.legendLine * Double((legend.last?.line ?? 0) + 1)
    }

    /// Names side by side, in as many lines as they need. Letters are about seven units wide.
    private static func legend(_ names: [String]) -> [(text: String, x: Double, line: Int)] {
        var entries = [(text: String, x: Double, line: Int)]()
        var (place, line) = (left, 0)
        for name in names {
            let space = 44 + 7 * Double(name.count)
            if place > left, place + space > width - right { (place, line) = (left, line + 1) }
            entries.append((name, place, line))
            place += space
        }
        return entries
    }

    private var plotTop: Double { top + Self.above }
    private var plotBottom: Double { plotTop + Self.plotHeight }
    private var plotRight: Double { Self.width - Self.right }

    private func horizontal(_ value: Double) -> Double { Self.left + x.place(value) * (plotRight - Self.left) }
    private func vertical(_ value: Double) -> Double { plotBottom - y.place(value) * Self.plotHeight }

    var elements: String {
        var lines = [element("text", Self.left, top + 20, "class=\"ink\" font-weight=\"600\"", chart.title)]
        lines += axes + marks
        for (index, series) in series.enumerated() { lines += drawn(series, style(index)) }
        for (index, entry) in legend.enumerated() {
            let y = plotBottom + Self.below + Self.legendLine * Double(entry.line)
            lines.append(
                "<path class=\"line\" \(style(index)) d=\"M\(Self.text(entry.x)) \(Self.text(y - 4))h24\"/>")
            lines.append(element("text", entry.x + 30, y, "class=\"ink\"", entry.text))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private var axes: [String] {
        var lines = [String]()
        for tick in x.ticks {
            let place = horizontal(tick)
            lines.append(
                "<path class=\"grid\" d=\"M\(Self.text(place)) \(Self.text(plotTop))V\(Self.text(plotBottom))\"/>")
            lines.append(
                element("text", place, plotBottom + 16, "class=\"ink\" text-anchor=\"middle\"", ChartScale.label(tick)))
        }
        for tick in y.ticks {
            let place = vertical(tick)
            lines.append(
                "<path class=\"grid\" d=\"M\(Self.text(Self.left)) \(Self.text(place))H\(Self.text(plotRight))\"/>")
            lines.append(
                element("text", Self.left - 6, place + 4, "class=\"ink\" text-anchor=\"end\"", ChartScale.label(tick)))
        }
        lines.append(
            "<path class=\"axis\" d=\"M\(Self.text(Self.left)) \(Self.text(plotTop))V\(Self.text(plotBottom))"
                + "H\(Self.text(plotRight))\"/>")
        let middle = (Self.left + plotRight) / 2
        lines.append(element("text", middle, plotBottom + 32, "class=\"ink\" text-anchor=\"middle\"", chart.x.title))
        let centre = (plotTop + plotBottom) / 2
        lines.append(
            element(
                "text", 14, centre,
                "class=\"ink\" text-anchor=\"middle\" transform=\"rotate(-90 14 \(Self.text(centre)))\"", chart.y.title)
        )
        return lines
    }

    private var marks: [String] {
        // Where the last word of each row ends.
        var ends = [Double](repeating: -.infinity, count: Self.markRows)
        return chart.marks.filter { $0.x.isFinite && x.range.contains($0.x) }.sorted { $0.x < $1.x }.flatMap { mark in
            let place = horizontal(mark.x)
            let line =
                "<path class=\"mark\" d=\"M\(Self.text(place)) \(Self.text(plotTop))V\(Self.text(plotBottom))\"/>"
            // Small letters are about six units wide. At the right end the word stands before its line.
            let width = 6 * Double(mark.text.count)
            let isBefore = place + 3 + width > Self.width
            let start = isBefore ? place - 3 - width : place + 3
            guard let row = ends.firstIndex(where: { $0 < start }) else { return [line] }
            ends[row] = start + width
            let word = element(
                "text", isBefore ? place - 3 : place + 3, plotTop + 10 + 12 * Double(row),
                "class=\"ink\" font-size=\"10\"" + (isBefore ? " text-anchor=\"end\"" : ""), mark.text)
            return [line, word]
        }
    }

    private func style(_ index: Int) -> String {
        let dash = Self.dashes[index / Self.colours.count % Self.dashes.count]
        return "stroke=\"\(Self.colours[index % Self.colours.count])\""
            + (dash.isEmpty ? "" : " stroke-dasharray=\"\(dash)\"")
    }

    private func drawn(_ series: LineChart.Series, _ style: String) -> [String] {
        guard !series.points.isEmpty else { return [] }
        let places = Self.thinned(series.points).map { (horizontal($0.x), vertical($0.y)) }
        let path = places.enumerated().map { "\($0 == 0 ? "M" : "L")\(Self.text($1.0)) \(Self.text($1.1))" }.joined()
        var lines = ["<path class=\"line\" \(style) d=\"\(path)\"><title>\(Self.escape(series.name))</title></path>"]
        if places.count <= Self.fewPoints {
            // Dots are lines of no length with round ends, and so have the line's colour.
            let dots = places.map { "M\(Self.text($0.0)) \(Self.text($0.1))h0" }.joined()
            lines.append(
                "<path class=\"line\" \(style) style=\"stroke-width:6;stroke-linecap:round;stroke-dasharray:none\" d=\"\(dots)\"/>"
            )
        }
        return lines
    }

    /// Of each run of neighbours the least and the largest, in their order.
    private static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        guard points.count > mostPoints else { return points }
        let size = (2 * points.count + mostPoints - 1) / mostPoints
        return stride(from: 0, to: points.count, by: size).flatMap { start -> [(x: Double, y: Double)] in
            let run = points[start..<min(start + size, points.count)]
            guard let least = run.indices.min(by: { run[$0].y < run[$1].y }),
                let largest = run.indices.max(by: { run[$0].y < run[$1].y })
            else { return [] }
            return least == largest ? [run[least]] : [run[min(least, largest)], run[max(least, largest)]]
        }
    }

    private func element(_ name: String, _ x: Double, _ y: Double, _ attributes: String, _ text: String) -> String {
        "<\(name) x=\"\(Self.text(x))\" y=\"\(Self.text(y))\" \(attributes)>\(Self.escape(text))</\(name)>"
    }

    static func text(_ number: Double) -> String {
        let text = String(format: "%.1f", number)
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            // XML has no other control characters than these.
            case "\t", "\n", "\r": escaped += " "
            default: if scalar.value >= 0x20, scalar.value & 0xFFFE != 0xFFFE { escaped.unicodeScalars.append(scalar) }
            }
        }
        return escaped
    }
}
