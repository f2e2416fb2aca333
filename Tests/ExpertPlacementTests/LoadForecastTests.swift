import ExpertPlacement
import Randomness
import Testing

@Suite struct LoadForecastTests {
    @Test func isTheMeanOfTheLastIntervals() {
        var forecast = LoadForecast(window: 2, jump: 1)
        #expect(forecast.isEmpty && forecast.loads.isEmpty)
        forecast.record([[10, 30]])
        #expect(forecast.loads == [[10, 30]] && forecast.errors.isEmpty)
        forecast.record([[20, 20]])
        #expect(forecast.loads == [[15, 25]])
        // A quarter of the tokens went elsewhere than forecast.
        #expect(forecast.errors == [0.25])
        forecast.record([[30, 10]])
        #expect(forecast.errors == [0.25, 0.375])
        // The last interval alone would have been nearer.
        #expect(forecast.loads == [[30, 10]])
    }

    @Test func noiseIsAveragedAndATrendIsFollowed() {
        var noisy = LoadForecast(window: 8, jump: 1)
        var moving = noisy
        for step in 0..<40 {
            noisy.record([step % 2 == 0 ? [60, 140] : [140, 60]])
            moving.record([[2 * step, 100].map(Double.init)])
        }
        #expect(noisy.loads == [[100, 100]])
        #expect(moving.loads == [[78, 100]])
    }

    @Test func aJumpIsNoticedAndForgetsThePast() {
        var forecast = LoadForecast(window: 4, jump: 0.1)
        for _ in 0..<5 {
            forecast.record([[50, 50], [10, 90]])
            #expect(!forecast.hasJumped)
        }
        forecast.record([[50, 50], [60, 40]])
        #expect(forecast.hasJumped)
        #expect(forecast.loads == [[50, 50], [60, 40]])
        forecast.record([[50, 50], [60, 40]])
        #expect(!forecast.hasJumped)
    }

    @Test func whatIsUsualIsNoJump() {
        var forecast = LoadForecast(window: 1, jump: 0.1)
        forecast.record([[0, 100]])
        forecast.record([[15, 85]])
        #expect(forecast.hasJumped)
        for step in 0..<10 {
            forecast.record([step % 2 == 0 ? [0, 100] : [15, 85]])
            #expect(!forecast.hasJumped)
        }
    }

    /// Around a switch of plans there are samples of a step or two, with as much noise as few tokens have. They are no jump, and
    /// the forecast stays near the truth.
    @Test(arguments: UInt64(0)..<8) func shortSamplesAreNoIntervals(seed: UInt64) {
        let weights = (0..<16).map { 1 / Double($0 + 4) }
        let total = weights.reduce(0, +)
        let generator = CounterBasedGenerator(seed: seed, purpose: "short samples")
        var drawn: UInt64 = 0
        func sample(_ steps: Int) -> PerformanceSample {
            var rows = [Int](repeating: 0, count: weights.count)
            for _ in 0..<128 * steps {
                drawn += 1
                var rest = generator.uniform(at: drawn) * total
                let expert = weights.firstIndex { weight in
                    rest -= weight
                    return rest < 0
                }
                rows[expert ?? weights.count - 1] += 1
            }
            return PerformanceSample(
                firstStep: 1, stepCount: steps, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                tokens: 0, residentBytes: 0, expertLoads: [rows])
        }
        var forecast = LoadForecast()
        for steps in [20, 20, 20, 20, 20, 20, 20, 20, 1, 1, 18, 20, 2, 1, 17, 1] {
            forecast.record(sample(steps))
            #expect(!forecast.hasJumped, "\(steps) steps, seed \(seed)")
        }
        let distance = zip(forecast.loads[0], weights).reduce(0) { $0 + abs($1.0 / 128 - $1.1 / total) / 2 }
        #expect(distance < 0.05, "\(distance), seed \(seed)")
    }

    /// Samples put together count by their steps.
    @Test func shortSamplesAddUp() {
        var forecast = LoadForecast(window: 1, jump: 1)
        forecast.record([[50, 50]], steps: 10)
        forecast.record([[0, 100]], steps: 1)
        forecast.record([[100, 0]], steps: 3)
        #expect(forecast.loads == [[50, 50]] && forecast.errors.isEmpty)
        forecast.record([[50, 50]], steps: 4)
        #expect(forecast.loads == [[62.5, 37.5]] && forecast.errors == [0.125])
        // Those of another model wait for nobody.
        forecast.record([[1, 99]], steps: 1)
        forecast.record([[1, 2, 3]], steps: 1)
        #expect(forecast.loads == [[1, 2, 3]])
    }

    @Test func deviationsFollowTheErrors() {
        var steady = LoadForecast(window: 3, jump: 1)
        var wild = steady
        for step in 0..<40 {
            steady.record([[100, 100]])
            wild.record([step % 2 == 0 ? [60, 140] : [140, 60]])
        }
        let (small, large) = (steady.deviations[0][0], wild.deviations[0][0])
        #expect(small > 0 && small < 2)
        #expect(large > 30 && large < 60)
        // Idle experts may wake up.
        #expect(LoadForecast.assumedDeviations([0, 100])[0] > 0)
    }

    @Test func anotherModelStartsAnew() {
        var forecast = LoadForecast()
        forecast.record([[1, 2]])
        forecast.record([[1, 2, 3]])
        #expect(forecast.loads == [[1, 2, 3]] && forecast.errors.isEmpty)
        #expect(!forecast.fits(ExpertModel(hiddenSize: 1, layers: [[4, 4]])))
        #expect(forecast.fits(ExpertModel(hiddenSize: 1, layers: [[4, 4, 4]])))
    }

    @Test func badSamplesAreIgnored() {
        var forecast = LoadForecast()
        for (loads, steps) in [(nil, 1), ([[1]], 0), ([[-1]], 1), ([], 1)] as [([[Int]]?, Int)] {
            forecast.record(
                PerformanceSample(
                    firstStep: 0, stepCount: steps, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                    tokens: 0, residentBytes: 0, expertLoads: loads))
            #expect(forecast.isEmpty)
        }
    }

    @Test func recordsOfErrorsAreBounded() {
        var forecast = LoadForecast(window: 1)
        for _ in 0..<LoadForecast.recordLimit + 50 { forecast.record([[1, 1]]) }
        #expect(forecast.errors.count == LoadForecast.recordLimit)
    }
}
