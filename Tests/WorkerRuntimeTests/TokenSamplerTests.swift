import Foundation
import Testing
import WorkerRuntime

@Suite struct TokenSamplerTests {
    private let logits: [Float] = [0.5, 2, -1, 2, 0]

    @Test func withoutTemperatureTheMostLikelyTokenComes() {
        let sampler = TokenSampler(temperature: 0, topK: 0, seed: 1)
        #expect((0..<20).allSatisfy { sampler.sample(logits, index: $0) == 1 })
    }

    @Test func topKLimitsTheChoice() {
        let sampler = TokenSampler(temperature: 100, topK: 3, seed: 1)
        #expect(Set((0..<200).map { sampler.sample(logits, index: $0) }) == [0, 1, 3])
        let more = TokenSampler(temperature: 100, topK: 9, seed: 1)
        #expect(Set((0..<200).map { more.sample(logits, index: $0) }) == [0, 1, 2, 3, 4])
    }

    @Test func choiceDependsOnSeedAndIndexAlone() {
        func tokens(seed: UInt64) -> [Int] {
            let sampler = TokenSampler(temperature: 1, topK: 0, seed: seed)
            return (0..<50).map { sampler.sample(logits, index: $0) }
        }
        #expect(tokens(seed: 4) == tokens(seed: 4))
        #expect(tokens(seed: 4) != tokens(seed: 5))
    }

    @Test(arguments: [0.5, 1, 2]) func frequenciesAreTheSoftmax(temperature: Double) {
        let sampler = TokenSampler(temperature: temperature, topK: 0, seed: 11)
        let draws = 20_000
        var counts = [Int](repeating: 0, count: logits.count)
        for index in 0..<draws { counts[sampler.sample(logits, index: index)] += 1 }
        let weights = logits.map { exp(Double($0) / temperature) }
        for (token, count) in counts.enumerated() {
            let expected = weights[token] / weights.reduce(0, +)
            // Five standard deviations of a binomial frequency.
            let tolerance = 5 * (expected * (1 - expected) / Double(draws)).squareRoot()
            #expect(abs(Double(count) / Double(draws) - expected) < tolerance, "seed 11, token \(token)")
        }
    }
}
