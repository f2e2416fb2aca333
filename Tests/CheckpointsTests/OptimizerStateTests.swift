import Checkpoints
import Crypto
import ExpertPlacement
import Foundation
import Layers
import Randomness
import Safetensors
import Tensors
import TestSupport
import Testing

@Suite struct OptimizerStateTests {
    /// Tensors cut anywhere by those who write, and anywhere else by those who read.
    @Test func anyCutsAreReadInAnyOthers() throws {
        let seed = TestRuns.seed()
        let generator = CounterBasedGenerator(seed: seed, purpose: "cuts")
        var drawn: UInt64 = 0
        func next(_ bound: Int) -> Int {
            drawn += 1
            return generator.integer(at: drawn, below: bound)
        }
        func cuts(_ count: Int, of rows: Int) -> [Range<Int>] {
            let bounds = ([0, rows] + (1..<count).map { _ in next(rows + 1) }).sorted()
            return zip(bounds, bounds.dropFirst()).map { $0..<$1 }
        }
        for _ in 0..<20 {
            try withTemporaryDirectory { directory in
                let worldSize = 1 + next(5)
                let tensors = (0..<4).map { index in
                    // A vector and matrices; one entry is like no other.
                    let (rows, columns) = (1 + next(30), [1, 3, 6][next(3)])
                    return (
                        name: "t\(index).exp_avg",
                        whole: Tensor(
                            (0..<rows * columns).map { Float(1000 * index + $0) }, rows: rows, columns: columns)
                    )
                }
                let ranges = tensors.map { cuts(worldSize, of: $0.whole.rows) }
                var files = [CheckpointFile]()
                for rank in 0..<worldSize {
                    let shards = zip(tensors, ranges).compactMap { tensor, ranges -> TensorShard? in
                        ranges[rank].isEmpty
                            ? nil
                            : TensorShard(
                                name: tensor.name, rows: ranges[rank], totalRows: tensor.whole.rows,
                                values: tensor.whole.rows(ranges[rank]))
                    }
                    files.append(
                        try OptimizerStateFile.write(shards, directory: directory, rank: rank, worldSize: worldSize))
                }
                files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: "config.json"))
                let manifest = CheckpointManifest(
                    run: "cuts", incarnation: 1, step: 1, updates: 1, data: SmallCheckpoint.data,
                    plan: try SmallCheckpoint.plan(worldSize: worldSize), largestRevision: 3, allocator: "replicated",
                    ownership: .decoupled, createdAt: Date(), files: files)
                try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/checkpoint.json"))
                let checkpoint = try Checkpoint(path: directory)
                try checkpoint.verify()
                let state = try OptimizerState(checkpoint)
                for tensor in tensors {
                    for rows in cuts(1 + next(4), of: tensor.whole.rows) where !rows.isEmpty {
                        let read = Tensor(rows: rows.count, columns: tensor.whole.columns, repeating: -1)
                        try state.load(
                            TensorShard(name: tensor.name, rows: rows, totalRows: tensor.whole.rows, values: read))
                        #expect(read.array == tensor.whole.rows(rows).array, "\(tensor.name) \(rows)")
                    }
                    for (name, total) in [("absent", tensor.whole.rows), (tensor.name, tensor.whole.rows + 1)] {
                        let error = #expect(throws: CheckpointError.self) {
                            try state.load(
                                TensorShard(
                                    name: name, rows: 0..<1, totalRows: total,
                                    values: Tensor(rows: 1, columns: tensor.whole.columns)))
                        }
                        #expect(error?.path.hasPrefix(directory) == true)
                    }
                }
            }
        }
    }

    /// A matrix cut by columns, and the entries of these again, by those who write and otherwise by those who read.
    @Test func columnsAreReadInAnyOthers() throws {
        let seed = TestRuns.seed()
        let generator = CounterBasedGenerator(seed: seed, purpose: "columns")
        var drawn: UInt64 = 0
        func cuts(_ count: Int, of total: Int) -> [Range<Int>] {
            let inner = (1..<count).map { _ in
                drawn += 1
                return generator.integer(at: drawn, below: total + 1)
            }
            let bounds = ([0, total] + inner).sorted()
            return zip(bounds, bounds.dropFirst()).map { $0..<$1 }
        }
        let (rows, columns) = (5, 7)
        let whole = Tensor((0..<rows * columns).map(Float.init), rows: rows, columns: columns)
        /// Shards of all entries, and what belongs there.
        func shards(_ columnCuts: Int, _ entryCuts: Int) -> [(shard: TensorShard, values: [Float])] {
            cuts(columnCuts, of: columns).filter { !$0.isEmpty }.flatMap { range in
                cuts(entryCuts, of: rows * range.count).filter { !$0.isEmpty }.map { entries in
                    let values = Array(whole.columns(range).array[entries])
                    return (
                        TensorShard(
                            name: "weight.exp_avg", rows: entries, totalRows: rows * columns,
                            // With all columns it is as a parameter that is not cut.
                            columns: range.count == columns
                                ? nil : TensorShard.Columns(range: range, total: columns),
                            values: Tensor(values, rows: entries.count, columns: 1)), values
                    )
                }
            }
        }
        for round in 0..<40 {
            try withTemporaryDirectory { directory in
                let written = shards(1 + round % 4, 1 + round % 3)
                var files = [CheckpointFile]()
                for (rank, shard) in written.enumerated() {
                    files.append(
                        try OptimizerStateFile.write(
                            [shard.shard], directory: directory, rank: rank, worldSize: written.count))
                }
                files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: "config.json"))
                let manifest = CheckpointManifest(
                    run: "cuts", incarnation: 1, step: 1, updates: 1, data: SmallCheckpoint.data,
                    plan: try SmallCheckpoint.plan(worldSize: written.count), largestRevision: 3,
                    allocator: "replicated", ownership: .decoupled, createdAt: Date(), files: files)
                try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/checkpoint.json"))
                let state = try OptimizerState(Checkpoint(path: directory))
                for (shard, values) in shards(1 + round % 5, 2) {
                    shard.values.fill(-1)
                    try state.load(shard)
                    #expect(shard.values.array == values, "seed \(seed), round \(round), rows \(shard.rows)")
                }
            }
        }
    }

    /// Rows that a file claims and does not have are found before anything is read.
    @Test(
        arguments: [
            "0:7/6", "1:6/6", "-1:5/6", "0:6", "", "6:0/6", "0:6/99999999999999999999", "0:6/12@", "@0:1/2",
            "0:6/12@0:2/5",
            "0:6/12@2:2/4", "0:6/12@0:4", "0:6/12@0:1/3", "0:6/12@1:0/2", "0:6/12@0:1/2@0:1/2", "0:6/12@0:0/0",
        ])
    func wrongRowsAreRefused(text: String) throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 1)
            let writer = try SafetensorsWriter(
                path: "\(path)/optimizer-00001-of-00001.safetensors", tensors: [("weight.exp_avg", [6])],
                metadata: ["weight.exp_avg": text])
            try writer.write("weight.exp_avg", Tensor(rows: 6, columns: 1, repeating: 0))
            try writer.finish()
            let error = #expect(throws: CheckpointError.self) { try OptimizerState(Checkpoint(path: path)) }
            #expect(error?.path.hasSuffix("optimizer-00001-of-00001.safetensors") == true)
        }
    }

    /// Across the sizes at which another thread takes over, and several chunks.
    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 2 << 20, (5 << 20) + 3])
    func theHashIsThatOfTheBytes(size: Int) throws {
        try withTemporaryDirectory { directory in
            let data = Data((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
            let file = try HashedFile.write(data, directory: directory, name: "file")
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(directory)/file")) == data)
            #expect(file.bytes == size)
            #expect(file.sha256 == SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined())
            try file.verify(in: directory)
            // It is made, never replaced.
            #expect(throws: CheckpointError.self) { try HashedFile(directory: directory, name: "file") }
        }
    }
}
