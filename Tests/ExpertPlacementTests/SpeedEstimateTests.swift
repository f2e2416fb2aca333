import ExpertPlacement
import Testing

@Suite struct SpeedEstimateTests {
    @Test func speedsAreFittedToReports() {
        var speeds = SpeedEstimate()
        let assumed = CostModel()
        #expect(speeds.fitted(assumed, worldSize: 3) == assumed)
        for _ in 0..<30 {
            speeds.record(rank: 0, seconds: 2, rows: 10, work: 100)
            speeds.record(rank: 1, seconds: 6, rows: 10, work: 100)
        }
        // What is no measurement changes nothing.
        for (rank, seconds, work) in [(0, 0.0, 1.0), (0, .nan, 1), (0, 1, 0), (-1, 1, 1)] {
            speeds.record(rank: rank, seconds: seconds, rows: work, work: work)
        }
        let fitted = speeds.fitted(assumed, worldSize: 3)
        #expect(abs(fitted.secondsPerRow(neurons: 10, rank: 2) / 0.4 - 1) < 0.01)
        #expect(zip(fitted.slowness, [0.5, 1.5, 1]).allSatisfy { abs($0 - $1) < 0.02 })
    }
}
