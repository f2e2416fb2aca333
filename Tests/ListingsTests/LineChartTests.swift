import Foundation
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

    /// Words of marks do not cover each other, nor leave the picture.
    @Test func marksNearEachOtherCanBeRead() throws {
        func words(_ places: [Double]) throws -> [(x: Double, y: Double, isBefore: Bool)] {
            let line = LineChart.Series("line", [(x: 0, y: 0), (x: 100, y: 1)])
            let svg = LineChart(
                title: "marks", x: LineChart.Axis("x"), y: LineChart.Axis("y"), series: [line],
                marks: places.map { ($0, "plan 1") }
            ).svg
            #expect(svg.matches(of: /class="mark"/).count == places.count)
            return try svg.matches(of: /<text x="([0-9.]+)" y="([0-9.]+)"([^>]*)>plan 1</).map { match in
                let (x, y) = (try #require(Double(match.1)), try #require(Double(match.2)))
                return (x, y, match.3.contains("text-anchor=\"end\""))
            }
        }
        // Six letters are 36 units wide; there are 6.4 to a step.
        let far = try words([10, 50, 20])
        #expect(Set(far.map(\.y)).count == 1 && far.map(\.x) == far.map(\.x).sorted())
        let near = try words([10, 11, 12, 30])
        #expect(near.map { $0.y - near[0].y } == [0, 12, 24, 0])
        #expect(try words((10...15).map(Double.init)).count == 4)
        let last = try words([90, 100])
        #expect(last.map(\.isBefore) == [false, true])
        #expect(last.allSatisfy { $0.x + ($0.isBefore ? 0 : 36) <= 720 })
    }
}
