import Checkpoints
import Foundation
import MessagePassing
import Testing
import WorkerRuntime

/// What a run that goes on makes of the checkpoint's files.
@Suite struct ResumePointTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// Files in a directory, or removed from it, that this process has open.
    private static func openFiles(in directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
        }
        .filter { $0.hasPrefix(directory) }
    }

    /// It may be removed while the run goes on, and then its room on the disk is free.
    @Test func theCheckpointIsNotKeptOpen() throws {
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 2) { $0.checkpointDirectory = directory }
        var options = fixture.options(steps: 4)
        options.checkpointDirectory = directory
        let final = options
        let found = try ThreadCommunicator.run(worldSize: 2) { communicator -> [[String]] in
            var found = [[String]]()
            let display = ProgressDisplay(steps: 4, interval: 1, isTerminal: false) { line in
                guard line.hasPrefix("step "), line.contains("/4 ") else { return }
                found.append((try? Self.openFiles(in: "\(directory)/")) ?? ["none can be listed"])
            }
            try Trainer(
                options: final, communicator: communicator, nodes: communicator.nodes(), display: display
            ).run()
            return found
        }
        // After steps 3 and 4; rank 0 alone shows them.
        #expect(found.map(\.count) == [2, 0])
        #expect(found.joined().allSatisfy { $0.isEmpty }, "\(found)")
    }

    /// A file of safetensors without the tensor that comes last.
    private func withoutLastTensor(_ file: Data) throws -> Data {
        // Eight bytes with the header's length, the header in JSON, the numbers.
        let length = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        var header = try #require(
            JSONSerialization.jsonObject(with: Data(file[8..<8 + length])) as? [String: Any])
        let starts = header.compactMapValues { (($0 as? [String: Any])?["data_offsets"] as? [Int])?.first }
        let last = try #require(starts.max { $0.value < $1.value })
        header[last.key] = nil
        let shorter = try JSONSerialization.data(withJSONObject: header)
        let count = Data((0..<8).map { UInt8(truncatingIfNeeded: shorter.count >> (8 * $0)) })
        return count + shorter + file[8 + length..<8 + length + last.value]
    }

    /// Before the directory is taken: the next start has nothing to make good.
    @Test func momentsThatNoRankHasAreMissedAtOnce() throws {
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(steps: 2) { $0.checkpointDirectory = directory }
        let checkpoint = try Checkpoint(path: "\(directory)/step-2")
        let name = "optimizer-00001-of-00001.safetensors"
        let file = URL(fileURLWithPath: "\(checkpoint.path)/\(name)")
        let shorter = try withoutLastTensor(Data(contentsOf: file))
        try FileManager.default.removeItem(at: file)
        var manifest = checkpoint.manifest
        manifest.files.removeAll { $0.name == name }
        manifest.files.append(try HashedFile.write(shorter, directory: checkpoint.path, name: name))
        try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(checkpoint.path)/checkpoint.json"))
        let claim = URL(fileURLWithPath: "\(directory)/incarnation.json")
        let before = try Data(contentsOf: claim)
        let reason = try fixture.failure(worldSize: 2, steps: 4, exitCode: 1) { $0.checkpointDirectory = directory }
        #expect(reason.hasPrefix("the optimizer files of \(checkpoint.path) have "), "\(reason)")
        #expect(try Data(contentsOf: claim) == before)
    }
}
