import Foundation
import Tensors
import Testing

@Suite struct RotaryEmbeddingTests {
    @Test(arguments: [2, 6, 16, 32, 34, 64], Layout.allCases)
    func turnsPairsByTheAngleOfThePosition(dimension: Int, layout: Layout) {
        let samples = Samples(seed: 51)
        let rotary = RotaryEmbedding(headDimension: dimension, base: 10_000, maximumPositions: 40)
        let (heads, length) = (3, 7)
        for sequences in [0, 1, 2] {
            let x = samples.normal(sequences * length, heads * dimension, layout)
            let before = x.tensor.array
            rotary.apply(x.tensor, heads: heads, sequenceLength: length)
            // Hugging Face: x·cos + rotate_half(x)·sin, where rotate_half(x) is (−second half, first half).
            let expected = before.indices.map { index in
                let entry = index % dimension
                let half = dimension / 2
                let position = Double(index / (heads * dimension) % length)
                let angle = position * pow(10_000, -Double(2 * (entry % half)) / Double(dimension))
                let partner =
                    entry < half ? -Double(before[index + half]) : Double(before[index - half])
                return Double(before[index]) * cos(angle) + partner * sin(angle)
            }
            #expect(largestError(x.tensor, expected) < 2e-6, "seed \(samples.seed)")
            rotary.apply(x.tensor, heads: heads, sequenceLength: length, inverse: true)
            #expect(largestError(x.tensor, before.map(Double.init)) < 1e-6, "seed \(samples.seed)")
            #expect(x.isFrameIntact)
        }
    }
}
