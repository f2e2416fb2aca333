import COpenBLAS
import Layers
import MPIMessagePassing
import MessagePassing
import Tensors

/// The shape of a training step, as on the command line.
struct StepShape {
    var hidden = 256
    var intermediate = 896
    var layers = 4
    var heads = 8
    var keyValueHeads = 4
    var experts = 8
    var expertsPerToken = 2
    var vocabulary = 256
    /// Of all ranks.
    var sequences = 16
    var length = 256

    /// Tokens of one rank.
    func tokens(_ worldSize: Int) -> Int { sequences * length / worldSize }
}

/// A matrix product: C (m, n) = op(A)·op(B), k the inner extent; B, or C when it is added to, may have rows of more entries.
struct Product {
    var m: Int
    var n: Int
    var k: Int
    var transposeA = false
    var transposeB = false
    var adds = false
    /// How often.
    var count: Int

    var operations: Double { 2 * Double(m) * Double(n) * Double(k) * Double(count) }
}

/// The products of a training step of one rank, and how long OpenBLAS takes for them alone.
enum StepProducts {
    /// y = x·Wᵀ, its two gradients: (rows, inner) to (rows, outer).
    static func linear(rows: Int, inner: Int, outer: Int, count: Int) -> [Product] {
        [
            Product(m: rows, n: outer, k: inner, transposeB: true, count: count),
            Product(m: rows, n: inner, k: outer, count: count),
            Product(m: outer, n: inner, k: rows, transposeA: true, adds: true, count: count),
        ]
    }

    /// Of the experts of one layer, each with the same number of rows, and its neurons cut over all ranks.
    static func experts(_ shape: StepShape, worldSize: Int) -> [Product] {
        let rows = shape.tokens(1) * shape.expertsPerToken / shape.experts
        let neurons = shape.intermediate / worldSize
        return linear(rows: rows, inner: shape.hidden, outer: neurons, count: 2 * shape.experts)
            + linear(rows: rows, inner: neurons, outer: shape.hidden, count: shape.experts)
    }

    static func router(_ shape: StepShape, worldSize: Int) -> [Product] {
        linear(rows: shape.tokens(worldSize), inner: shape.hidden, outer: shape.experts, count: 1)
    }

    /// Of one layer's attention between its projections: scores and values of each head, below the diagonal half; forward two,
    /// backward five.
    static func attention(_ shape: StepShape, worldSize: Int) -> [Product] {
        [
            Product(
                m: shape.length, n: max(1, shape.length / 2), k: shape.hidden / shape.heads, transposeB: true,
                count: shape.heads * shape.sequences / worldSize * 7)
        ]
    }

    static func all(_ shape: StepShape, worldSize: Int) -> [Product] {
        let (tokens, dimension) = (shape.tokens(worldSize), shape.hidden / shape.heads)
        let queries = linear(rows: tokens, inner: shape.hidden, outer: shape.hidden, count: 2)
        let keys = linear(
            rows: tokens, inner: shape.hidden, outer: shape.keyValueHeads * dimension, count: 2)
        let layer =
            queries + keys + attention(shape, worldSize: worldSize) + experts(shape, worldSize: worldSize)
            + router(shape, worldSize: worldSize)
        return layer.map { product in
            var product = product
            product.count *= shape.layers
            return product
        } + linear(rows: tokens, inner: shape.hidden, outer: shape.vocabulary, count: 1)
    }

    /// Seconds of all products, the median of `rounds`. Each product comes as often as it is made in the step, but no more than a
    /// few times in a round, in memory that is not in a cache from the time before.
    static func seconds(_ products: [Product], rounds: Int, world: MPICommunicator) throws -> Double {
        let memory = ProductMemory()
        var totals = [Double]()
        for _ in 0..<rounds {
            try world.barrier()
            let total = products.reduce(0.0) { sum, product in
                let times = min(product.count, 8)
                let part = elapsed { memory.multiply(product, times: times) }
                return sum + part * Double(product.count) / Double(times)
            }
            totals.append(total)
        }
        return median(totals)
    }
}

/// Factors and results of products by OpenBLAS, more than the caches hold.
final class ProductMemory {
    private static let entries = 8 << 20
    private let blocks: [UnsafeMutablePointer<Float>]

    init() {
        openblas_set_num_threads(1)
        blocks = (0..<3).map { index in
            let block = UnsafeMutablePointer<Float>.allocate(capacity: Self.entries)
            block.initialize(repeating: Float(index) * 0.1, count: Self.entries)
            return block
        }
    }

    deinit {
        for block in blocks { block.deallocate() }
    }

    /// Makes a product some times, each time from other entries.
    func multiply(_ product: Product, times: Int) {
        for turn in 0..<times { multiply(product, turn: turn) }
    }

    private func multiply(_ product: Product, turn: Int) {
        let (m, n, k) = (product.m, product.n, product.k)
        func part(_ index: Int, _ count: Int) -> UnsafeMutablePointer<Float> {
            blocks[index] + turn % max(1, Self.entries / max(1, count)) * count
        }
        cblas_sgemm(
            CblasRowMajor, product.transposeA ? CblasTrans : CblasNoTrans,
            product.transposeB ? CblasTrans : CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, part(0, m * k),
            blasint(product.transposeA ? m : k), part(1, k * n), blasint(product.transposeB ? k : n),
            product.adds ? 1 : 0, part(2, m * n), blasint(n))
    }
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
