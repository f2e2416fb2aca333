/// Memory for one thread's share of an attention, which a tile after the other uses.
final class AttentionScratch {
    /// (tileRows, L), and room for a multiple of 16 columns. Rows do not lie powers of two apart, so that the entries of a column have
    /// different places in the cache.
    let scores: Matrix
    let gradients: Matrix
    /// The keys of one key-value head, transposed, (d, L).
    let transposedKeys: Panels
    /// Its values, as many, for backward.
    let transposedValues: Panels
    /// What the triangle is multiplied with, (L, d): values in forward, keys in backward.
    let factor: Panels
    /// tileRows entries.
    let inverseSums: MutableEntries
    private let queries: MutableEntries
    private let outputGradients: MutableEntries
    private let memory: Tensor

    init(_ shape: AttentionShape) {
        let (length, dimension) = (shape.sequenceLength, shape.dimension)
        let scoreStride = Self.scoreStride(length)
        let counts = Self.counts(sequenceLength: length, dimension: dimension)
        memory = Tensor(rows: 1, columns: counts.reduce(0, +))
        var next = memory.pointer
        func take(_ count: Int) -> MutableEntries {
            defer { next += count }
            return next
        }
        scores = Matrix(entries: take(counts[0]), stride: scoreStride)
        gradients = Matrix(entries: take(counts[1]), stride: scoreStride)
        transposedKeys = Panels(entries: take(counts[2]), rows: dimension)
        transposedValues = Panels(entries: take(counts[3]), rows: dimension)
        factor = Panels(entries: take(counts[4]), rows: length)
        queries = take(counts[5])
        outputGradients = take(counts[6])
        inverseSums = take(counts[7])
    }

    private static func scoreStride(_ length: Int) -> Int { Panels.rounded(length) + Panels.width }

    /// Entries of each part, in the order in which they lie.
    static func counts(sequenceLength length: Int, dimension: Int) -> [Int] {
        let tile = AttentionShape.tileRows(length)
        let scores = tile * scoreStride(length)
        let transposed = Panels.count(rows: dimension, columns: length)
        let tileEntries = Panels.count(rows: tile, columns: dimension)
        return [
            scores, scores, transposed, transposed, Panels.count(rows: length, columns: dimension), tileEntries,
            tileEntries, Panels.rounded(tile),
        ]
    }

    /// Room for a tile's queries, (rows, d).
    func queries(rows: Int) -> Panels { Panels(entries: queries, rows: rows) }

    /// Room for the gradient of a tile's output, (rows, d).
    func outputGradients(rows: Int) -> Panels { Panels(entries: outputGradients, rows: rows) }
}
