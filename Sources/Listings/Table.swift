/// Aligned columns with upper-case headers, as kubectl prints them.
package struct Table {
    package enum Alignment {
        case left, right
    }

    /// Blanks between columns.
    private static let gap = 3
    /// Columns of a terminal in which some, or much, of a text can be read.
    private static let (leastText, muchText) = (12, 40)

    private let columns: [(header: String, alignment: Alignment)]
    private var rows = [[String]]()
    private var hasHeaders = true
    private var leastWidths: [Int]
    /// Said instead of the table when there is no row.
    private let placeholder: String

    /// - Parameter columns: header and alignment; numbers are aligned to the right.
    package init(_ columns: [(header: String, alignment: Alignment)], whenEmpty placeholder: String = "") {
        self.columns = columns
        leastWidths = columns.map(\.header.count)
        self.placeholder = placeholder
    }

    /// Cells may say what terminals would take for a command: it is not shown.
    package mutating func add(_ row: [String]) {
        precondition(row.count == columns.count, "\(row.count) cells in a table of \(columns.count) columns")
        rows.append(row.map { $0.isEmpty ? Readable.nothing : TerminalText.shown($0) })
    }

    /// Lines that end in a newline, without trailing blanks.
    package var text: String {
        if rows.isEmpty, !placeholder.isEmpty { return placeholder + "\n" }
        let (widths, headers) = (widths, columns.map(\.header))
        return ((!hasHeaders || headers.allSatisfy(\.isEmpty) ? [] : [headers]) + rows).map { cells in
            let line = cells.indices.map { column in
                let blanks = String(repeating: " ", count: widths[column] - cells[column].count)
                return columns[column].alignment == .left ? cells[column] + blanks : blanks + cells[column]
            }.joined(separator: String(repeating: " ", count: Self.gap))
            return String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
        }.joined()
    }

    private var widths: [Int] {
        columns.indices.map { column in rows.reduce(leastWidths[column]) { max($0, $1[column].count) } }
    }

    /// The columns that there is room for, those of most weight first. The last one is free text: it is there while some of it can be
    /// read, and columns of less weight only while much of it can. Its cells stay as they are, for whoever shows them to cut.
    /// - Parameter headers: of all columns, those of most weight first.
    package func narrowed(to room: Int, byWeight headers: [String]) -> Table {
        let text = columns.count - 1
        let widths = widths
        var shown = [Int]()
        for header in headers {
            guard let column = columns.firstIndex(where: { $0.header == header }) else {
                preconditionFailure("a table without a column \(header)")
            }
            let least = column == text ? Self.leastText : Self.muchText
            let used = (shown + [column]).map { $0 == text ? min(widths[$0], least) : widths[$0] }
            if shown.isEmpty || used.reduce(Self.gap * shown.count, +) <= room { shown.append(column) }
        }
        shown.sort()
        var table = Table(shown.map { columns[$0] }, whenEmpty: placeholder)
        table.rows = rows.map { row in shown.map { row[$0] } }
        return table
    }

    /// A table without rows, to be printed below this one once it has some.
    package var continued: Table {
        var table = Table(columns)
        table.hasHeaders = false
        table.leastWidths = widths
        return table
    }

    /// Names and what they stand for, without headers; for one thing in detail.
    /// - Parameter isDryRun: adds that nothing was changed.
    package static func details(_ entries: [(name: String, value: String)], isDryRun: Bool = false) -> Table {
        var table = Table([("", .left), ("", .left)])
        for entry in entries { table.add([entry.name + ":", entry.value]) }
        if isDryRun { table.add(["Changed:", "nothing, this is a dry run"]) }
        return table
    }
}
