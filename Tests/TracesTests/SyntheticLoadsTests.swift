import ExpertPlacement
import Foundation
import TestSupport
import Testing
import Traces

/// Generated loads add up, depend on the seed alone, and change as their pattern says.
struct SyntheticLoadsTests {
    private func options(_ pattern: SyntheticLoads.Pattern, seed: Int) -> SyntheticLoads.Options {
        SyntheticLoads.Options(
            pattern: pattern, seed: seed, layers: 3, experts: 16, intervals: 20, steps: 10, tokens: 1000, topK: 4,
            exponent: 1.2, drift: 0.05, period: 5)
    }

    @Test(arguments: SyntheticLoads.Pattern.allCases)
    func everyTokenHasItsExperts(pattern: SyntheticLoads.Pattern) {
        let seed = Int(TestRuns.seed() >> 12)
        let intervals = Array(SyntheticLoads(options(pattern, seed: seed)))
        #expect(intervals.count == 20)
        for (number, interval) in intervals.enumerated() {
            #expect(interval.firstStep == 1 + 10 * number && interval.stepCount == 10 && interval.tokens == 10_000)
            for loads in interval.expertLoads {
                #expect(loads.reduce(0, +) == 40_000)
                // A token goes to an expert once.
                #expect(loads.allSatisfy { (0...10_000).contains($0) }, "\(loads)")
            }
        }
        #expect(Array(SyntheticLoads(options(pattern, seed: seed))) == intervals)
        #expect(Array(SyntheticLoads(options(pattern, seed: seed + 1))) != intervals)
    }

    private func distance(_ a: TraceInterval, _ b: TraceInterval) -> Double {
        let differences = zip(a.expertLoads.joined(), b.expertLoads.joined()).map { abs($0 - $1) }
        return Double(differences.reduce(0, +)) / 2 / Double(a.expertLoads.joined().reduce(0, +))
    }

    @Test func patternsChangeAsTheySay() {
        let seed = Int(TestRuns.seed() >> 12)
        let shift = Array(SyntheticLoads(options(.shift, seed: seed)))
        for number in 1..<20 {
            let change = distance(shift[number - 1], shift[number])
            #expect(number % 5 == 0 ? change > 0.2 : change < 0.1, "interval \(number): \(change)")
        }
        let periodic = Array(SyntheticLoads(options(.periodic, seed: seed)))
        #expect(distance(periodic[0], periodic[5]) < distance(periodic[0], periodic[2]))
        var still = options(.zipf, seed: seed)
        still.drift = 0
        let zipf = Array(SyntheticLoads(still))
        #expect(distance(zipf[0], zipf[19]) < 0.03)
        // The most popular expert against the second, where no token's limit is in the way.
        still.topK = 1
        let sorted = Array(SyntheticLoads(still))[0].expertLoads[0].sorted(by: >)
        #expect(abs(Double(sorted[0]) / Double(sorted[1]) - pow(2, 1.2)) < 0.3, "\(sorted)")
    }

    @Test func sharesAreCapped() {
        let seed = TestRuns.seed()
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let count = Int.random(in: 1...20, using: &generator)
            let weights = (0..<count).map { _ in pow(Double.random(in: 0.01...1, using: &generator), 4) }
            let sum = Int.random(in: 1...count, using: &generator)
            let shares = SyntheticLoads.capped(weights, sum: Double(sum))
            #expect(abs(shares.reduce(0, +) - Double(sum)) < 1e-6)
            #expect(shares.allSatisfy { (0...1).contains($0) })
        }
        #expect(SyntheticLoads.capped([8, 1, 1], sum: 2) == [1, 0.5, 0.5])
    }
}
