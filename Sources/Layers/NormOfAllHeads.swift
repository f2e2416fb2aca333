import Tensors

/// What an RMSNorm over all heads of a token needs where some of the heads are on other ranks: sums over the ranks, of queries and of keys
/// at once, for each token.
struct NormOfAllHeads {
    let group: any SequenceGroup
    /// Entries of a token's queries and keys, of all heads.
    let queryEntries: Int
    let keyEntries: Int
    /// Whether this rank counts its keys: of the ranks that have the same ones one does.
    let countsKeys: Bool

    /// Means of the squares that the norms divide by.
    /// - Parameters:
    ///   - queries: of the heads here, (T, n·d).
    ///   - keys: likewise.
    func meanSquares(_ queries: Tensor, _ keys: Tensor) throws -> (queries: [Float], keys: [Float]) {
        let none = [Float](repeating: 0, count: keys.rows)
        return try means(Rows.dots(queries, queries), countsKeys ? Rows.dots(keys, keys) : none)
    }

    /// Means of what `RMSNormLayer.weightBackward` gave. Each rank has a part of the gradient of keys that it shares, so all of these count,
    /// but what follows from the mean is taken from the keys once.
    func productMeans(_ queries: [Float], _ keys: [Float]) throws -> (queries: [Float], keys: [Float]) {
        let means = try means(queries, keys)
        return countsKeys ? means : (means.queries, [Float](repeating: 0, count: keys.count))
    }

    private func means(_ queries: [Float], _ keys: [Float]) throws -> (queries: [Float], keys: [Float]) {
        var sums = (queries + keys).map(Double.init)
        try group.sum(&sums)
        return (
            sums.prefix(queries.count).map { Float($0 / Double(queryEntries)) },
            sums.dropFirst(queries.count).map { Float($0 / Double(keyEntries)) }
        )
    }
}
