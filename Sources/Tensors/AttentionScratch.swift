/// Memory for one thread's share of an attention, which a tile after the other uses.
final class AttentionScratch {
    /// (tileRows, L)
    let scores: Matrix
    let gradients: Matrix
    /// The transposed keys and values of one key-value head, (d, L).
    let keys: Matrix
    let values: Matrix
    /// tileRows entries.
    let inverseSums: MutableEntries
    private let memory: Tensor

    init(_ shape: AttentionShape) {
        let (tile, dimension) = (shape.tileRows, shape.dimension)
        memory = Tensor(rows: 2 * (tile + dimension) + 1, columns: max(shape.scoreStride, tile))
        scores = memory.matrix
        gradients = scores.from(tile, 0)
        keys = scores.from(2 * tile, 0)
        values = scores.from(2 * tile + dimension, 0)
        inverseSums = scores.row(2 * (tile + dimension))
    }
}
