import Layers
import Randomness
import Tensors

/// Initial weights by name and position alone, so that a model begins the same however its experts are spread.
struct SeededWeights: WeightSource {
    let seed: UInt64

    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        let generator = CounterBasedGenerator(seed: seed, purpose: name)
        for row in rows {
            // The destination may be a part of a wider matrix: its rows need not lie next to each other.
            let target = row - rows.lowerBound
            var entries = destination.rows(target..<target + 1).mutableSpan
            for column in columns {
                let position = row * shape[shape.count - 1] + column
                entries[column - columns.lowerBound] = Float(0.1 * generator.normal(at: UInt64(position)))
            }
        }
    }
}
