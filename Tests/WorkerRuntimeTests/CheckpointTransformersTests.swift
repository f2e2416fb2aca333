import Checkpoints
import ControlTestSupport
import Foundation
import Mixtral
import Safetensors
import Tensors
import Testing
import WorkerRuntime

/// A checkpoint is a model as transformers has it.
@Suite struct CheckpointTransformersTests {
    private static let golden = Repository.root.appending(path: "Tests/MixtralTests/Golden")
    /// With transformers, from deploy/python.sh.
    private static let python = Repository.root.appending(path: ".venv/bin/python").path
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// A checkpoint of a model that transformers wrote, before any step.
    private func checkpoint(of model: String = "base", worldSize: Int) throws -> String {
        let directory = fixture.path("checkpoints-\(model)-\(worldSize)")
        try fixture.write((0..<600).map { UInt16($0 % 37) }, to: "train.bin")
        try fixture.write((0..<100).map { UInt16($0 % 37) }, to: "val.bin")
        _ = try? FileManager.default.removeItem(atPath: fixture.path("metrics.jsonl"))
        _ = try fixture.train(worldSize: worldSize, steps: 0) {
            $0.modelConfiguration = nil
            $0.model = Self.golden.appending(path: model).path
            $0.checkpointDirectory = directory
        }
        return "\(directory)/step-0"
    }

    private struct Index: Decodable, Equatable {
        let metadata: [String: Int]
        let files: [String: String]

        private enum CodingKeys: String, CodingKey {
            case metadata
            case files = "weight_map"
        }
    }

    /// The same names, shapes and bits, and an index of the same form.
    @Test(arguments: 1...3) func filesAreOfTheFormThatTransformersWrites(worldSize: Int) throws {
        let path = try checkpoint(worldSize: worldSize)
        var readers = [String: SafetensorsReader]()
        if worldSize == 1 {
            let reader = try SafetensorsReader(path: "\(path)/model.safetensors")
            for entry in reader.header.entries { readers[entry.name] = reader }
            #expect(!FileManager.default.fileExists(atPath: "\(path)/model.safetensors.index.json"))
        } else {
            let index = try JSONDecoder().decode(
                Index.self, from: Data(contentsOf: URL(fileURLWithPath: "\(path)/model.safetensors.index.json")))
            let theirs = try JSONDecoder().decode(
                Index.self, from: Data(contentsOf: Self.golden.appending(path: "sharded/model.safetensors.index.json")))
            #expect(index.metadata["total_size"] == theirs.metadata["total_size"])
            #expect(Set(index.files.keys) == Set(theirs.files.keys))
            #expect(
                Set(index.files.values)
                    == Set((1...worldSize).map { "model-0000\($0)-of-0000\(worldSize).safetensors" }))
            for (name, file) in index.files { readers[name] = try SafetensorsReader(path: "\(path)/\(file)") }
        }
        let original = try SafetensorsReader(path: Self.golden.appending(path: "base/model.safetensors").path)
        #expect(readers.count == original.header.entries.count)
        for entry in original.header.entries {
            let reader = try #require(readers[entry.name], "\(entry.name)")
            #expect(reader.header.metadata == original.header.metadata)
            #expect(reader.entry(entry.name)?.shape == entry.shape)
            #expect(try reader.read(entry.name).array == original.read(entry.name).array, "\(entry.name)")
        }
    }

    @Test(arguments: ["base", "tied", "olmoe", "qwen2-moe", "qwen3-moe", "qwen3-moe-tied", "dots1"])
    func transformersLoadsItWithTheSameLogits(model: String) throws {
        try #require(FileManager.default.isExecutableFile(atPath: Self.python), "run deploy/python.sh")
        for worldSize in model == "base" ? [1, 2] : [2] {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Self.python)
            process.arguments = [
                Self.golden.appending(path: "check_checkpoint.py").path,
                try checkpoint(of: model, worldSize: worldSize), "--equal-to", Self.golden.appending(path: model).path,
            ]
            let output = Pipe()
            process.standardOutput = output
            process.standardError = output
            try process.run()
            let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(text)")
        }
    }
}
