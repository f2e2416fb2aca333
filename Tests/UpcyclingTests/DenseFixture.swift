import Foundation
import Layers
import Mixtral
import Safetensors
import Tensors

/// A dense model of the folder `Golden`, and a folder for what is made of it. Removed with the value, so a test holds it.
final class DenseFixture {
    static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden")

    let name: String
    let folder: URL
    /// A copy that a test may change.
    var dense: String { folder.appending(path: name).path }

    init(_ name: String) throws {
        self.name = name
        folder = FileManager.default.temporaryDirectory.appending(path: "upcycling-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            at: Self.golden.appending(path: name), to: folder.appending(path: name))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appending(path: name).path }

    func names(in directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(directory)).sorted()
    }

    /// Changes fields of the dense model's `config.json`; nil removes one.
    func configure(_ changes: [String: Any?]) throws {
        let file = URL(fileURLWithPath: dense).appending(path: "config.json")
        var fields = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any] ?? [:]
        for (name, value) in changes { fields[name] = value }
        try JSONSerialization.data(withJSONObject: fields).write(to: file)
    }

    /// All tensors of a model's files.
    func tensors(in directory: String) throws -> [String: StoredTensor] {
        var tensors = [String: StoredTensor]()
        for name in try names(in: directory) where name.hasSuffix(".safetensors") {
            let reader = try SafetensorsReader(path: "\(path(directory))/\(name)")
            for entry in reader.header.entries {
                tensors[entry.name] = StoredTensor(
                    file: name, type: entry.elementType, shape: entry.shape, values: try reader.read(entry.name))
            }
        }
        return tensors
    }

    struct StoredTensor {
        let file: String
        let type: SafetensorsElementType
        let shape: [Int]
        let values: Tensor
    }

    /// Of the dense model, as transformers computes them.
    func expectedLogits() throws -> [Float] {
        try SafetensorsReader(path: Self.golden.appending(path: "\(name).safetensors").path).read("logits").array
    }

    /// Of a mixture, for the same tokens.
    func logits(of directory: String) throws -> [Float] {
        let checkpoint = try MixtralCheckpoint(directory: path(directory))
        let model = MixtralModel(configuration: checkpoint.configuration)
        try model.loadWeights(from: checkpoint.weights)
        return try model.logits(tokens: (0..<22).map { $0 * $0 % 37 }, sequences: 2, sequenceLength: 11).array
    }
}
