/// The k largest entries of each row.
package enum TopK {
    /// Selects; a row's entries are handed out from the largest to the smallest. Of equal entries the one with the lower
    /// index counts as larger. (`torch.topk` leaves the order of equal entries open.) Rows with entries that are not a
    /// number yield k different indices all the same, so a diverged model does not trap.
    ///
    /// - Parameters:
    ///   - values: rows of `columns` entries without gaps.
    ///   - k: 1 ... columns.
    ///   - indices: rows · k entries, overwritten.
    ///   - selected: the entries at `indices`, overwritten.
    package static func select(
        _ values: Span<Float>, columns: Int, k: Int, indices: inout MutableSpan<Int32>,
        selected: inout MutableSpan<Float>
    ) {
        precondition(k >= 1 && k <= columns && values.count % columns == 0, "rows do not fit")
        let rows = values.count / columns
        precondition(indices.count == rows * k && selected.count == rows * k, "results do not fit")
        for row in 0..<rows {
            let start = row * columns
            let first = row * k
            let last = first + k - 1
            // The results are a sorted list that grows to k entries; a later entry must exceed the list's last.
            for column in 0..<k {
                insert(values[start + column], column, first: first, at: first + column, &indices, &selected)
            }
            for column in k..<columns {
                let value = values[start + column]
                if value > selected[last] { insert(value, column, first: first, at: last, &indices, &selected) }
            }
        }
    }

    /// Puts an entry at `place`, after moving smaller ones of the list that begins at `first` back by one.
    @inline(__always)
    private static func insert(
        _ value: Float, _ column: Int, first: Int, at place: Int, _ indices: inout MutableSpan<Int32>,
        _ selected: inout MutableSpan<Float>
    ) {
        var place = place
        while place > first && value > selected[place - 1] {
            selected[place] = selected[place - 1]
            indices[place] = indices[place - 1]
            place -= 1
        }
        selected[place] = value
        indices[place] = Int32(truncatingIfNeeded: column)
    }
}
