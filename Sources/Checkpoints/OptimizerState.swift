import Foundation
import Layers
import Safetensors
import Tensors

/// What a rank owns of the moments, in a file: each tensor as the rank has it, and in the file's metadata which rows of the whole
/// tensor these are, `FIRST:END/TOTAL`.
public enum OptimizerStateFile {
    /// - Parameter directory: where the checkpoint is written.
    public static func write(
        _ shards: [TensorShard], directory: String, rank: Int, worldSize: Int
    ) throws -> CheckpointFile {
        let file = try HashedFile(
            directory: directory, name: CheckpointManifest.optimizerFile(rank: rank, worldSize: worldSize))
        var metadata = ["format": "pt"]
        for shard in shards {
            metadata[shard.name] = "\(shard.rows.lowerBound):\(shard.rows.upperBound)/\(shard.totalRows)"
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

    /// Reads what `write` has put down.
    static func rows(_ text: String?) -> (rows: Range<Int>, totalRows: Int)? {
        let parts = text?.split(whereSeparator: { $0 == ":" || $0 == "/" }).compactMap { Int($0) } ?? []
        guard parts.count == 3, 0 <= parts[0], parts[0] <= parts[1], parts[1] <= parts[2] else { return nil }
        return (parts[0]..<parts[1], parts[2])
    }
}

/// The moments of a checkpoint, wherever its ranks had them.
public struct OptimizerState {
    private struct Part {
        let rows: Range<Int>
        let totalRows: Int
        let reader: SafetensorsReader
    }
    private let path: String
    /// Of each tensor, ascending.
    private var parts = [String: [Part]]()

    /// Opens all ranks' files; data is read when asked for, and of that only what is asked.
    public init(_ checkpoint: Checkpoint) throws {
        path = checkpoint.path
        let worldSize = checkpoint.manifest.worldSize
        for rank in 0..<worldSize {
            let name = CheckpointManifest.optimizerFile(rank: rank, worldSize: worldSize)
            let reader = try SafetensorsReader(path: "\(checkpoint.path)/\(name)")
            for entry in reader.header.entries {
                guard let place = OptimizerStateFile.rows(reader.header.metadata[entry.name]),
                    entry.shape.first == place.rows.count
                else {
                    throw CheckpointError(
                        .damaged, reader.path, "does not say which rows of \"\(entry.name)\" it has")
                }
                parts[entry.name, default: []].append(
                    Part(rows: place.rows, totalRows: place.totalRows, reader: reader))
            }
        }
        for name in parts.keys { parts[name]?.sort { $0.rows.lowerBound < $1.rows.lowerBound } }
    }

    /// Reads the rows of a shard into its memory, from as many files as have some of them.
    public func load(_ shard: TensorShard) throws {
        var next = shard.rows.lowerBound
        for part in parts[shard.name] ?? [] where part.rows.upperBound > next && next < shard.rows.upperBound {
            guard part.totalRows == shard.totalRows else {
                throw CheckpointError(
                    .unsuitable, part.reader.path,
                    "has \"\(shard.name)\" with \(part.totalRows) rows in all instead of \(shard.totalRows)")
            }
            guard part.rows.lowerBound <= next else { break }
            let rows = next..<min(part.rows.upperBound, shard.rows.upperBound)
            try read(shard, rows: rows, from: part)
            next = rows.upperBound
        }
        guard next == shard.rows.upperBound else {
            throw CheckpointError(.damaged, path, "has no row \(next) of \"\(shard.name)\"")
        }
    }

    private func read(_ shard: TensorShard, rows: Range<Int>, from part: Part) throws {
        let columns = shard.values.columns
        guard let shape = part.reader.entry(shard.name)?.shape,
            shape == (columns == 1 ? [part.rows.count] : [part.rows.count, columns])
        else {
            throw CheckpointError(
                .unsuitable, part.reader.path, "has \"\(shard.name)\" in another shape than the model")
        }
        let stored = rows.lowerBound - part.rows.lowerBound..<rows.upperBound - part.rows.lowerBound
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
