import Listings
import Testing

struct LineChartTests {
    private static let extremes: [Double] = [
        0, 1, -1, .leastNormalMagnitude, 1e-290, 1e-30, 1e30, 1e300, 1.7e308, -1.7e308, .greatestFiniteMagnitude,
        .leastNonzeroMagnitude,
    ]

    /// Whatever numbers it is given, as long as they are some.
    @Test(arguments: extremes, extremes) func extremeNumbersAreDrawn(first: Double, second: Double) {
        for (x, y) in [((1.0, 2.0), (first, second)), ((first, second), (1.0, 2.0))] {
            let line = LineChart.Series("line", [(x: x.0, y: y.0), (x: x.1, y: y.1)])
            let svg = LineChart(
                title: "extremes", x: LineChart.Axis("x"), y: LineChart.Axis("y"), series: [line], marks: []
            ).svg
            #expect(svg.hasSuffix("</svg>\n") && !svg.contains("nan"), "\(svg)")
        }
    }
}
