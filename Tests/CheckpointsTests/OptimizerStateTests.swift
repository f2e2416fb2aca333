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
                for name in ["config.json", "model.safetensors"] {
                    files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: name))
                }
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
                for name in ["config.json", "model.safetensors"] {
                    files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: name))
                }
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

    /// A checkpoint whose ranks have these shards of a vector or a matrix.
    private func state(_ shards: [[TensorShard]], in directory: String) throws -> OptimizerState {
        var files = [CheckpointFile]()
        for (rank, own) in shards.enumerated() {
            files.append(
                try OptimizerStateFile.write(own, directory: directory, rank: rank, worldSize: shards.count))
        }
        for name in ["config.json", "model.safetensors"] {
            files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: name))
        }
        let manifest = CheckpointManifest(
            run: "cuts", incarnation: 1, step: 1, updates: 1, data: SmallCheckpoint.data,
            plan: try SmallCheckpoint.plan(worldSize: shards.count), largestRevision: 3, allocator: "replicated",
            ownership: .decoupled, createdAt: Date(), files: files)
        try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/checkpoint.json"))
        return try OptimizerState(Checkpoint(path: directory))
    }

    private func shard(_ rows: Range<Int>, of total: Int, columns: TensorShard.Columns? = nil) -> TensorShard {
        TensorShard(
            name: "weight.exp_avg", rows: rows, totalRows: total, columns: columns,
            values: Tensor(rows: rows.count, columns: 1, repeating: 0))
    }

    /// Rows that no rank has, or two have, or that are of wholes of two sizes; by rows, and by columns of a matrix of 4 × 4.
    @Test func rowsThatAreNotThereOnceAreRefused() throws {
        let (left, right) = (
            TensorShard.Columns(range: 0..<2, total: 4), TensorShard.Columns(range: 2..<4, total: 4)
        )
        let wrong = [
            [shard(0..<2, of: 10), shard(0..<2, of: 10)], [shard(0..<5, of: 10), shard(4..<10, of: 10)],
            [shard(0..<4, of: 10), shard(5..<10, of: 10)], [shard(1..<4, of: 10), shard(4..<10, of: 10)],
            [shard(0..<4, of: 10), shard(4..<9, of: 10)], [shard(0..<4, of: 9), shard(4..<10, of: 10)],
            [shard(0..<8, of: 16, columns: left)], [shard(0..<16, of: 16), shard(0..<8, of: 16, columns: left)],
            [shard(0..<8, of: 16, columns: left), shard(0..<7, of: 16, columns: right)],
            [shard(0..<8, of: 16, columns: left), shard(0..<4, of: 16, columns: left)],
        ]
        for shards in wrong {
            try withTemporaryDirectory { directory in
                let error = #expect(throws: CheckpointError.self) { try state(shards.map { [$0] }, in: directory) }
                #expect(
                    error?.code == .damaged && error?.reason.contains("each row of \"weight.exp_avg\" once") == true)
            }
        }
        try withTemporaryDirectory { directory in
            let whole = [
                shard(0..<8, of: 16, columns: left), shard(3..<8, of: 16, columns: right),
                shard(0..<3, of: 16, columns: right),
            ]
            let state = try state(whole.map { [$0] }, in: directory)
            // Of a matrix of as many entries in other columns.
            let other = TensorShard.Columns(range: 0..<1, total: 8)
            let error = #expect(throws: CheckpointError.self) {
                try state.load(shard(0..<2, of: 16, columns: other))
            }
            #expect(
                error?.reason.contains("with 4 columns in all instead of 8") == true, "\(String(describing: error))")
        }
    }

    /// There may be more ranks than files that a process may have open.
    @Test func fewFilesAreOpenAtATime() throws {
        try withTemporaryDirectory { directory in
            let count = OpenFiles.limit + 5
            let state = try state((0..<count).map { [shard($0..<$0 + 1, of: count)] }, in: directory)
            for _ in 0..<2 { try state.load(shard(0..<count, of: count)) }
            let all = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
            let own = all.compactMap {
                try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
            }
            .filter { $0.hasPrefix(directory) }
            #expect(own.count == OpenFiles.limit)
            withExtendedLifetime(state) {}
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
