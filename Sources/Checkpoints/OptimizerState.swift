import Foundation
import Layers
import Safetensors
import Tensors

/// What a rank owns of the moments, in a file: each tensor as the rank has it, and in the file's metadata which rows of the whole
/// tensor these are, `FIRST:END/TOTAL`. For a parameter that is cut by columns, `FIRST:END/TOTAL@FIRST:END/TOTAL`: the columns
/// follow, and the rows are counted among their entries alone, row by row of the matrix.
public enum OptimizerStateFile {
    /// - Parameter directory: where the checkpoint is written.
    public static func write(
        _ shards: [TensorShard], directory: String, rank: Int, worldSize: Int
    ) throws -> CheckpointFile {
        let file = try HashedFile(
            directory: directory, name: CheckpointManifest.optimizerFile(rank: rank, worldSize: worldSize))
        var metadata = ["format": "pt"]
        for shard in shards {
            metadata[shard.name] =
                text(shard.rows, shard.totalRows) + (shard.columns.map { "@" + text($0.range, $0.total) } ?? "")
        }
        let writer = try SafetensorsWriter(
            to: file,
            tensors: shards.map { shard in
                (shard.name, shard.values.columns == 1 ? [shard.rows.count] : [shard.rows.count, shard.values.columns])
            }, metadata: metadata)
        for shard in shards { try writer.write(shard.name, shard.values) }
        try writer.finish()
        return file.entry
    }

    private static func text(_ range: Range<Int>, _ total: Int) -> String {
        "\(range.lowerBound):\(range.upperBound)/\(total)"
    }

    /// Reads what `write` has put down.
    static func place(_ text: String?) -> ShardPlace? {
        let parts = text?.split(separator: "@", omittingEmptySubsequences: false).map(range) ?? []
        guard let rows = parts.first ?? nil else { return nil }
        if parts.count == 1 { return ShardPlace(rows: rows.range, totalRows: rows.total, columns: nil) }
        guard parts.count == 2, let columns = parts[1], !columns.range.isEmpty,
            rows.total % columns.total == 0,
            rows.range.upperBound <= rows.total / columns.total * columns.range.count
        else { return nil }
        return ShardPlace(
            rows: rows.range, totalRows: rows.total,
            columns: TensorShard.Columns(range: columns.range, total: columns.total))
    }

    private static func range(_ text: Substring) -> (range: Range<Int>, total: Int)? {
        let parts = text.split(whereSeparator: { $0 == ":" || $0 == "/" }).compactMap { Int($0) }
        guard parts.count == 3, 0 <= parts[0], parts[0] <= parts[1], parts[1] <= parts[2] else { return nil }
        return (parts[0]..<parts[1], parts[2])
    }
}

/// Which rows of a whole tensor a shard has.
struct ShardPlace {
    let rows: Range<Int>
    let totalRows: Int
    let columns: TensorShard.Columns?

    init(rows: Range<Int>, totalRows: Int, columns: TensorShard.Columns?) {
        self.rows = rows
        self.totalRows = totalRows
        self.columns = columns
    }

    init(_ shard: TensorShard) { self.init(rows: shard.rows, totalRows: shard.totalRows, columns: shard.columns) }

    /// Whether these places have each row of one tensor once.
    static func areWhole(_ places: [ShardPlace]) -> Bool {
        guard let first = places.first,
            places.allSatisfy({ $0.totalRows == first.totalRows && $0.columns?.total == first.columns?.total })
        else { return false }
        // Ranks that have the same columns cut the entries of these among them.
        let groups = Dictionary(grouping: places, by: \.columns?.range)
        return (first.columns.map { tile($0.total, with: groups.keys.compactMap { $0 }) } ?? true)
            && groups.allSatisfy { columns, places in
                let rows = columns.map { first.totalRows / (first.columns?.total ?? 1) * $0.count } ?? first.totalRows
                return tile(rows, with: places.map(\.rows))
            }
    }

    /// Whether `ranges` lie one after another from 0 to `end`.
    private static func tile(_ end: Int, with ranges: [Range<Int>]) -> Bool {
        let sorted = ranges.sorted { ($0.lowerBound, $0.upperBound) < ($1.lowerBound, $1.upperBound) }
        return zip([0] + sorted.map(\.upperBound), sorted.map(\.lowerBound) + [end]).allSatisfy { $0 == $1 }
    }

    /// Where the shard's row `row` is in the whole tensor.
    func position(of row: Int) -> Int {
        guard let columns else { return row }
        let (line, column) = row.quotientAndRemainder(dividingBy: columns.range.count)
        return line * columns.total + columns.range.lowerBound + column
    }

    /// The shard's row that is at `position` of the whole tensor; nil: it has none.
    func row(at position: Int) -> Int? {
        guard let columns else { return rows.contains(position) ? position : nil }
        let (line, column) = position.quotientAndRemainder(dividingBy: columns.total)
        guard columns.range.contains(column) else { return nil }
        let row = line * columns.range.count + column - columns.range.lowerBound
        return rows.contains(row) ? row : nil
    }

    /// Rows from `row` on that lie one after another in the whole tensor.
    func run(from row: Int) -> Int {
        let rest = rows.upperBound - row
        return columns.map { min(rest, $0.range.count - row % $0.range.count) } ?? rest
    }
}

/// The moments of a checkpoint, wherever its ranks had them.
public struct OptimizerState {
    private struct Part {
        let place: ShardPlace
        let reader: SafetensorsReader
    }
    private let path: String
    private var parts = [String: [Part]]()
    /// Moments of all tensors.
    public private(set) var entries = 0

    /// Reads the headers of all ranks' files; data is read when asked for, and of that only what is asked.
    /// - Throws: `CheckpointError` also when they do not have each row of each tensor once.
    public init(_ checkpoint: Checkpoint) throws {
        path = checkpoint.path
        let worldSize = checkpoint.manifest.worldSize
        let files = OpenFiles()
        for rank in 0..<worldSize {
            let name = CheckpointManifest.optimizerFile(rank: rank, worldSize: worldSize)
            let reader = try SafetensorsReader(path: "\(checkpoint.path)/\(name)", among: files)
            for entry in reader.header.entries {
                guard let place = OptimizerStateFile.place(reader.header.metadata[entry.name]),
                    entry.shape.first == place.rows.count
                else {
                    throw CheckpointError(
                        .damaged, reader.path, "does not say which rows of \"\(entry.name)\" it has")
                }
                parts[entry.name, default: []].append(Part(place: place, reader: reader))
                entries += entry.shape.reduce(1, *)
            }
        }
        for (name, parts) in parts.sorted(by: { $0.key < $1.key }) where !ShardPlace.areWhole(parts.map(\.place)) {
            throw CheckpointError(
                .damaged, path,
                "does not have each row of \"\(name)\" once in the optimizer files of its \(worldSize) ranks")
        }
    }

    /// Reads the rows of a shard into its memory, from as many files as have some of them.
    public func load(_ shard: TensorShard) throws {
        let (place, parts) = (ShardPlace(shard), self.parts[shard.name] ?? [])
        for part in parts {
            guard part.place.totalRows == place.totalRows else {
                throw CheckpointError(
                    .unsuitable, part.reader.path,
                    "has \"\(shard.name)\" with \(part.place.totalRows) rows in all instead of \(place.totalRows)")
            }
            // With all columns it is not said how many these are.
            guard let stored = part.place.columns?.total, let own = place.columns?.total, stored != own else {
                continue
            }
            throw CheckpointError(
                .unsuitable, part.reader.path,
                "has \"\(shard.name)\" with \(stored) columns in all instead of \(own)")
        }
        var row = place.rows.lowerBound
        while row < place.rows.upperBound {
            let position = place.position(of: row)
            let found = parts.lazy.compactMap { part in part.place.row(at: position).map { (part, $0) } }.first
            guard let (part, stored) = found else {
                throw CheckpointError(.damaged, path, "has no row \(position) of \"\(shard.name)\"")
            }
            // Two shards of the same columns have the same rows one after another.
            let count =
                part.place.columns == place.columns
                ? min(part.place.rows.upperBound - stored, place.rows.upperBound - row)
                : min(part.place.run(from: stored), place.run(from: row))
            try read(shard, rows: row..<row + count, from: part, row: stored)
            row += count
        }
    }

    /// - Parameter row: of the part, the first of `rows`.
    private func read(_ shard: TensorShard, rows: Range<Int>, from part: Part, row: Int) throws {
        let columns = shard.values.columns
        let partRows = part.place.rows
        guard let shape = part.reader.entry(shard.name)?.shape,
            shape == (columns == 1 ? [partRows.count] : [partRows.count, columns])
        else {
            throw CheckpointError(
                .unsuitable, part.reader.path, "has \"\(shard.name)\" in another shape than the model")
        }
        let stored = row - partRows.lowerBound..<row - partRows.lowerBound + rows.count
        let target = shard.values.rows(
            rows.lowerBound - shard.rows.lowerBound..<rows.upperBound - shard.rows.lowerBound)
        if columns == 1 {
            // A vector is one row to the reader.
            try part.reader.read(
                shard.name, rows: 0..<1, columns: stored, into: target.reshaped(rows: 1, columns: rows.count))
        } else {
            try part.reader.read(shard.name, rows: stored, columns: 0..<columns, into: target)
        }
    }
}
