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

    /// Angles of late positions show how frequencies are rounded. From PyTorch 2.13.0, whose frequencies are as in transformers' modelling
    /// code: `1.0 / (1e6 ** (torch.arange(0, 128, 2).float() / 128))`, times 32767.
    @Test func latePositionsHaveTheAnglesOfTransformers() {
        let (dimension, length) = (128, 32_768)
        let rotary = RotaryEmbedding(headDimension: dimension, base: 1e6, maximumPositions: length)
        let x = Tensor(rows: length, columns: dimension, repeating: 0)
        for entry in 0..<dimension / 2 { x[length - 1, entry] = 1 }
        rotary.apply(x, heads: 1, sequenceLength: length)
        for (entry, cosine, sine) in [
            (1, -0.9984877, 0.0549757), (3, 0.9914767, 0.1302847), (7, 0.4165832, -0.9090976),
            (10, 0.1732057, 0.9848857), (11, -0.2856187, 0.9583433), (12, 0.8992398, 0.4374559),
        ] as [(Int, Float, Float)] {
            #expect(abs(x[length - 1, entry] - cosine) < 1e-6, "\(entry)")
            #expect(abs(x[length - 1, dimension / 2 + entry] - sine) < 1e-6, "\(entry)")
        }
    }
}
