/// A matrix cut into panels of 16 columns, one after the other, so that a product over its rows reads entries that lie side by side. The
/// last panel is filled up with zeros.
struct Panels {
    static let width = 16

    let entries: MutableEntries
    /// Of the matrix, and of each panel.
    let rows: Int

    /// How many entries the panels of a matrix take.
    static func count(rows: Int, columns: Int) -> Int { rows * rounded(columns) }

    /// Up to the next multiple of the width.
    static func rounded(_ columns: Int) -> Int { (columns + width - 1) / width * width }

    func panel(_ index: Int) -> MutableEntries { entries + index &* rows &* Self.width }

    /// Copies `rows` rows of `columns` entries.
    func copy(from source: Matrix, columns: Int) {
        for column in stride(from: 0, to: columns, by: Self.width) {
            let (target, rest) = (panel(column / Self.width), columns &- column)
            for row in 0..<rows {
                let entries = source.row(row) + column
                (rest < Self.width ? Lanes(entries, first: rest) : Lanes(entries)).store(to: target + row &* Self.width)
            }
        }
    }

    /// Copies the transpose of `columns` rows of `rows` entries.
    func copyTransposed(from source: Matrix, columns: Int) {
        for column in stride(from: 0, to: columns, by: Self.width) {
            let target = Matrix(entries: panel(column / Self.width), stride: Self.width)
            let count = min(Self.width, columns &- column)
            if count < Self.width { target.entries.update(repeating: 0, count: rows &* Self.width) }
            target.copyTransposed(from: source.from(column, 0), rows: count, columns: rows)
        }
    }
}
