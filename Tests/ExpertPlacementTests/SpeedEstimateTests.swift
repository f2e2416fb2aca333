import ExpertPlacement
import Randomness
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
        #expect(throws: Never.self) { try fitted.validate(worldSize: 3) }
    }

    /// Ranks that are alike have no error; that of others follows from how their reports scatter.
    @Test func theErrorOfSlownessFollowsFromScatter() {
        var errors = [Double]()
        for (slow, scatter) in [(1.0, 0.0), (2, 0), (2, 0.1)] {
            var speeds = SpeedEstimate()
            for report in 0..<30 {
                let sign = report % 2 == 0 ? 1.0 : -1
                speeds.record(rank: 0, seconds: 1 + sign * scatter, rows: 10, work: 100)
                speeds.record(rank: 1, seconds: slow * (1 - sign * scatter), rows: 10, work: 100)
            }
            errors.append(speeds.fitted(CostModel(), worldSize: 2).slownessError)
        }
        #expect(errors[0] == 0 && errors[1] > 0 && errors[2] > 1.5 * errors[1] && errors[2] < 0.1, "\(errors)")
    }

    /// When shards have different widths, the time of rows and that of neurons come apart, through noise.
    @Test func rowsAndNeuronsComeApart() {
        for seed in UInt64(0)..<20 {
            let generator = CounterBasedGenerator(seed: seed, purpose: "speeds")
            var speeds = SpeedEstimate(memory: 0.95)
            let slowness = [1.0, 2, 0.5, 0.5]
            var index: UInt64 = 0
            for report in 0..<200 {
                for rank in slowness.indices {
                    index += 2
                    let rows = 1000 + 1000 * generator.uniform(at: index)
                    let width = Double([64, 512][(report + rank) % 2])
                    let noise = 1 + 0.02 * generator.normal(at: index + 1)
                    let seconds = slowness[rank] * rows * (1e-5 + 1e-7 * width) * noise
                    speeds.record(rank: rank, seconds: seconds, rows: rows, work: rows * width)
                }
            }
            let fitted = speeds.fitted(CostModel(), worldSize: 4)
            #expect(abs(fitted.rowSeconds / 1e-5 - 1) < 0.1, "seed \(seed): \(fitted)")
            #expect(abs(fitted.neuronSeconds / 1e-7 - 1) < 0.1, "seed \(seed): \(fitted)")
            for (found, expected) in zip(fitted.slowness, slowness) {
                #expect(abs(found / expected - 1) < 0.05, "seed \(seed): \(fitted)")
            }
        }
    }

    /// When all shards have one width, nobody can tell rows from neurons, but rows of this width cost what they cost.
    @Test func oneWidthLeavesTheTimeToTheNeurons() {
        var speeds = SpeedEstimate()
        for report in 1...20 {
            let rows = Double(100 * report)
            for rank in 0..<2 {
                speeds.record(rank: rank, seconds: rows * (2e-5 + 1e-7 * 100), rows: rows, work: rows * 100)
            }
        }
        let fitted = speeds.fitted(CostModel(), worldSize: 2)
        #expect(abs(fitted.secondsPerRow(neurons: 100, rank: 0) / 3e-5 - 1) < 1e-6, "\(fitted)")
        #expect(fitted.rowSeconds < 0.01 * 3e-5, "\(fitted)")
        #expect(fitted.slowness == [1, 1])
    }

    @Test func oneOutlierMovesLittleAndAChangeIsFollowed() {
        var speeds = SpeedEstimate()
        func report(_ seconds: Double) {
            for rank in 0..<4 { speeds.record(rank: rank, seconds: rank == 0 ? seconds : 1, rows: 100, work: 6400) }
        }
        func slowness() -> Double {
            let fitted = speeds.fitted(CostModel(), worldSize: 4).slowness
            return fitted[0] / fitted[1]
        }
        for _ in 0..<10 { report(1) }
        #expect(slowness() == 1)
        report(100)
        #expect(slowness() < 2)
        for _ in 0..<10 { report(1) }
        #expect(slowness() < 1.1)
        for _ in 0..<10 { report(5) }
        #expect(slowness() > 3.5, "\(slowness())")
        for _ in 0..<20 { report(5) }
        #expect(abs(slowness() - 5) < 0.25, "\(slowness())")
    }

    @Test func ranksThatDifferByNoiseAreAlike() {
        var sum = 0.0
        for seed in UInt64(0)..<50 {
            let generator = CounterBasedGenerator(seed: seed, purpose: "equal ranks")
            var speeds = SpeedEstimate()
            for report in UInt64(0)..<20 {
                for rank in 0..<4 {
                    let noise = 1 + 0.1 * generator.normal(at: report * 4 + UInt64(rank))
                    speeds.record(rank: rank, seconds: noise, rows: 100, work: 6400)
                }
            }
            let fitted = speeds.fitted(CostModel(), worldSize: 4).slowness
            let error = fitted.map { abs($0 - 1) }.max() ?? 1
            #expect(fitted.allSatisfy(\.isFinite) && error < 0.12, "seed \(seed): \(fitted)")
            sum += error / 50
        }
        // Without shrinking it is about 0.04.
        #expect(sum < 0.025, "\(sum)")
    }
}
