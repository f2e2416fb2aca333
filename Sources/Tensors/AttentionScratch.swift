/// Memory for one thread's share of an attention, which a tile after the other uses.
final class AttentionScratch {
    /// (tileRows, L), and room for a multiple of 16 columns.
    let scores: Matrix
    let gradients: Matrix
    /// The keys of one key-value head: (L, d), and transposed.
    let keys: Panels
    let transposedKeys: Panels
    /// Its values.
    let values: Panels
    let transposedValues: Panels
    /// tileRows entries.
    let inverseSums: MutableEntries
    private let queries: MutableEntries
    private let outputGradients: MutableEntries
    private let memory: Tensor

    init(_ shape: AttentionShape) {
        let (tile, length, dimension) = (shape.tileRows, shape.sequenceLength, shape.dimension)
        let scoreStride = Panels.rounded(length)
        let head = Panels.entries(rows: length, columns: dimension)
        let transposed = Panels.entries(rows: dimension, columns: length)
        let tileEntries = Panels.entries(rows: tile, columns: dimension)
        let counts = [
            tile * scoreStride, tile * scoreStride, head, transposed, head, transposed, tileEntries, tileEntries,
            Panels.rounded(tile),
        ]
        memory = Tensor(rows: 1, columns: counts.reduce(0, +))
        var next = memory.pointer
        func take(_ count: Int) -> MutableEntries {
            defer { next += count }
            return next
        }
        scores = Matrix(entries: take(counts[0]), stride: scoreStride)
        gradients = Matrix(entries: take(counts[1]), stride: scoreStride)
        keys = Panels(entries: take(counts[2]), rows: length)
        transposedKeys = Panels(entries: take(counts[3]), rows: dimension)
        values = Panels(entries: take(counts[4]), rows: length)
        transposedValues = Panels(entries: take(counts[5]), rows: dimension)
        queries = take(counts[6])
        outputGradients = take(counts[7])
        inverseSums = take(counts[8])
    }

    /// Room for a tile's queries, (rows, d).
    func queries(rows: Int) -> Panels { Panels(entries: queries, rows: rows) }

    /// Room for the gradient of a tile's output, (rows, d).
    func outputGradients(rows: Int) -> Panels { Panels(entries: outputGradients, rows: rows) }
}
