import Foundation
import Randomness
import Testing

@Suite struct CounterBasedGeneratorTests {
    @Test func numbersDependOnEveryPartOfTheKeyAlone() {
        let generator = CounterBasedGenerator(seed: 7, purpose: "weights", keys: [1, 2])
        #expect(generator.bits(at: 5) == CounterBasedGenerator(seed: 7, purpose: "weights", keys: [1, 2]).bits(at: 5))
        let others = [
            CounterBasedGenerator(seed: 8, purpose: "weights", keys: [1, 2]),
            CounterBasedGenerator(seed: 7, purpose: "batches", keys: [1, 2]),
            CounterBasedGenerator(seed: 7, purpose: "weights", keys: [2, 1]),
            CounterBasedGenerator(seed: 7, purpose: "weights", keys: [1]),
        ]
        for other in others { #expect(other.bits(at: 5) != generator.bits(at: 5)) }
        #expect(generator.bits(at: 6) != generator.bits(at: 5))
    }

    /// Runs resume, and peers draw the same batches: the numbers stay what they are. From `Benchmarks/philox.py`.
    @Test func numbersAreThoseOfAnotherImplementation() {
        let batch = CounterBasedGenerator(seed: 7, purpose: "data order", keys: [3, 4])
        #expect(batch.bits(at: 0) == 0x863a_8e0e_ab5f_932c)
        #expect(batch.integer(at: 0, below: 100_000 - 64) == 52_399)
        let extreme = CounterBasedGenerator(seed: .max, purpose: "", keys: [-1])
        #expect(extreme.bits(at: 0x100_0000_0005) == 0xb663_9247_b426_b431)
    }

    @Test func momentsAreThoseOfTheDistributions() {
        let generator = CounterBasedGenerator(seed: 3, purpose: "moments")
        let count = 100_000
        let uniform = (0..<count).map { generator.uniform(at: UInt64($0)) }
        let normal = (0..<count).map { generator.normal(at: UInt64($0)) }
        #expect(uniform.allSatisfy { (0..<1).contains($0) })
        // Six standard errors: 1/√12n, 1/√n, √(2/n).
        #expect(abs(uniform.reduce(0, +) / Double(count) - 0.5) < 6 * 0.000_92)
        #expect(abs(normal.reduce(0, +) / Double(count)) < 6 * 0.003_2)
        #expect(abs(normal.reduce(0) { $0 + $1 * $1 } / Double(count) - 1) < 6 * 0.004_5)
    }

    @Test func pairsAreIndependentNormals() {
        let generator = CounterBasedGenerator(seed: 5, purpose: "pairs")
        let count = 100_000
        let pairs = (0..<count).map { generator.normalPair(at: UInt64($0)) }
        #expect((0..<100).allSatisfy { generator.normal(at: UInt64($0)) == pairs[$0].0 })
        // Six standard errors: 1/√n, √(2/n), 1/√n.
        #expect(abs(pairs.reduce(0) { $0 + $1.1 } / Double(count)) < 6 * 0.003_2)
        #expect(abs(pairs.reduce(0) { $0 + $1.1 * $1.1 } / Double(count) - 1) < 6 * 0.004_5)
        #expect(abs(pairs.reduce(0) { $0 + $1.0 * $1.1 } / Double(count)) < 6 * 0.003_2)
    }

    @Test func sineAndCosineAreThoseOfTheLibrary() {
        var worst = 0.0
        let generator = CounterBasedGenerator(seed: 6, purpose: "turns")
        let quarters: [Double] = [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1 - 0x1p-53]
        for turn in quarters + (0..<10_000).map({ generator.uniform(at: $0) }) {
            let (sine, cosine) = Turn.sineAndCosine(turn)
            // A number that is none is not seen among the largest.
            #expect(sine.isFinite && cosine.isFinite, "turn \(turn)")
            worst = max(worst, abs(sine - sin(2 * .pi * turn)), abs(cosine - cos(2 * .pi * turn)))
        }
        // The library's argument is itself rounded, by up to 2^-51.
        #expect(worst < 2e-15)
    }

    @Test func integersCoverTheirRangeEvenly() {
        let generator = CounterBasedGenerator(seed: 4, purpose: "integers")
        var counts = [Int](repeating: 0, count: 7)
        for index in 0..<70_000 { counts[generator.integer(at: UInt64(index), below: 7)] += 1 }
        // Six standard deviations of a binomial count.
        #expect(counts.allSatisfy { abs($0 - 10_000) < 6 * 93 })
    }
}
