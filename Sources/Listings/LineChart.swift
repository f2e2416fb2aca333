import Foundation

/// A line chart, written as SVG that needs nothing else and follows the reader's light or dark theme.
package struct LineChart {
    package struct Series {
        package var name: String
        package var points: [(x: Double, y: Double)]

        package init(_ name: String, _ points: [(x: Double, y: Double)]) {
            self.name = name
            self.points = points
        }
    }

    package struct Axis {
        package var title: String
        /// Logarithmic; points that are not positive are left out.
        package var isLogarithmic: Bool

        package init(_ title: String, isLogarithmic: Bool = false) {
            self.title = title
            self.isLogarithmic = isLogarithmic
        }
    }

    package var title: String
    package var x: Axis
    package var y: Axis
    package var series: [Series]
    /// Where something happened: upright lines with a word.
    package var marks: [(x: Double, text: String)]

    package init(
        title: String, x: Axis, y: Axis, series: [Series], marks: [(x: Double, text: String)] = []
    ) {
        self.title = title
        self.x = x
        self.y = y
        self.series = series
        self.marks = marks
    }

    package var svg: String { Self.svg([self]) }

    /// Charts one below the other.
    package static func svg(_ charts: [LineChart]) -> String {
        var body = ""
        var top = 0.0
        for chart in charts {
            let drawing = ChartDrawing(chart, top: top)
            body += drawing.elements
            top += drawing.height
        }
        let titles = charts.map { ChartDrawing.escape($0.title) }.joined(separator: "; ")
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(ChartDrawing.text(ChartDrawing.width)) \
            \(ChartDrawing.text(top))" role="img" aria-label="\(titles)" font-family="system-ui, sans-serif" font-size="12">
            <style>
            svg { background: #ffffff; color: #1f2328; }
            .ink { fill: currentColor; } .axis { stroke: currentColor; fill: none; }
            .grid { stroke: currentColor; stroke-opacity: 0.15; fill: none; }
            .mark { stroke: currentColor; stroke-opacity: 0.5; stroke-dasharray: 2 3; fill: none; }
            .line { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
            @media (prefers-color-scheme: dark) { svg { background: #0d1117; color: #e6edf3; } }
            </style>
            \(body)</svg>

            """
    }
}
