import Randomness
import Tensors

/// How the entries of a tensor lie in memory.
enum Layout: CaseIterable {
    case gapless
    /// A view into a larger tensor, whose other entries must stay as they are.
    case strided
}

/// A tensor of random entries, and around it a frame that no kernel may touch.
struct Sample {
    private static let sentinel: Float = -12_345.5
    private let whole: Tensor
    let tensor: Tensor

    init(rows: Int, columns: Int, layout: Layout, values: (Int) -> Float) {
        switch layout {
        case .gapless:
            whole = Tensor(rows: rows, columns: columns)
            tensor = whole
        case .strided:
            whole = Tensor(rows: rows + 2, columns: columns + 5, repeating: Self.sentinel)
            tensor = whole.rows(1..<rows + 1).columns(3..<columns + 3)
        }
        for row in 0..<rows {
            for column in 0..<columns { tensor[row, column] = values(row * columns + column) }
        }
    }

    /// Whether all entries around the tensor are what they were.
    var isFrameIntact: Bool {
        if whole.rows == tensor.rows { return true }
        for row in 0..<whole.rows {
            for column in 0..<whole.columns {
                let isInside = (1..<tensor.rows + 1).contains(row) && (3..<tensor.columns + 3).contains(column)
                if !isInside && whole[row, column] != Self.sentinel { return false }
            }
        }
        return true
    }
}

/// Makes random tensors, each from numbers of its own.
final class Samples {
    let seed: UInt64
    private var taken = 0

    init(seed: UInt64) { self.seed = seed }

    private func next() -> CounterBasedGenerator {
        taken += 1
        return CounterBasedGenerator(seed: seed, purpose: "tests", keys: [taken])
    }

    /// Standard normal entries times `scale`.
    func normal(_ rows: Int, _ columns: Int, _ layout: Layout = .gapless, scale: Double = 1) -> Sample {
        let generator = next()
        return Sample(rows: rows, columns: columns, layout: layout) { Float(generator.normal(at: UInt64($0)) * scale) }
    }

    /// Entries that a kernel has to overwrite.
    func garbage(_ rows: Int, _ columns: Int, _ layout: Layout = .gapless) -> Sample {
        Sample(rows: rows, columns: columns, layout: layout) { _ in .nan }
    }

    /// `count` integers below `bound`.
    func integers(_ count: Int, below bound: Int) -> [Int32] {
        let generator = next()
        return (0..<count).map { Int32(generator.integer(at: UInt64($0), below: bound)) }
    }
}
