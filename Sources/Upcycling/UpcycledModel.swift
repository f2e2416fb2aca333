import Checkpoints
import Foundation
import Mixtral
import Safetensors

/// A mixture of experts that is made of a dense model on the disk.
public struct UpcycledModel {
    /// Of the mixture.
    public let configuration: MixtralConfiguration
    /// `model_type` of the dense model and of the mixture.
    public let denseType: String
    public let mixtureType: String
    /// Neurons of an expert.
    public let expertWidth: Int
    private let dense: DenseModel
    private let upcycling: Upcycling
    private let plan: MixturePlan

    /// Reads the `config.json` of a dense model and the headers of its files, and checks that a mixture can be made of it.
    /// - Parameter directory: with `config.json` and `model.safetensors`, or several files and `model.safetensors.index.json`.
    /// - Throws: `UpcyclingError`, `MixtralConfigurationError`, `SafetensorsError` or `MixtralCheckpointError`.
    public init(dense directory: String, _ upcycling: Upcycling) throws {
        dense = try DenseModel(directory: directory)
        self.upcycling = upcycling
        plan = try MixturePlan(dense, upcycling)
        configuration = plan.configuration
        denseType = dense.type.rawValue
        mixtureType = dense.type.mixture
        expertWidth = dense.width / plan.slices
    }

    /// Bytes of the weights.
    public var bytes: Int { plan.tensors.reduce(0) { $0 + $1.bytes } }

    /// Writes the mixture to a new directory, which appears at once and whole: `config.json`, weights of the types that they have in the
    /// dense model, and the dense model's tokenizer. Of the weights a few megabytes are in memory at a time.
    /// - Parameters:
    ///   - target: must not be there.
    ///   - fileLimitBytes: of weights in one file.
    /// - Returns: the files written.
    /// - Throws: `CheckpointError`, `SafetensorsError`, or a file system's error; nothing is left behind then.
    public func write(to target: String, fileLimitBytes: Int = 5_000_000_000) throws -> [CheckpointFile] {
        try NewDirectory.make(target) { directory in
            let json = configuration.json(weightType: weightType)
            var files = [try HashedFile.write(json, directory: directory, name: "config.json")]
            files += try writeWeights(to: directory, fileLimitBytes: fileLimitBytes)
            files += try copyTokenizer(to: directory)
            return files
        }
    }

    /// What transformers calls the type of the embedding.
    private var weightType: String {
        switch plan.tensors.first?.elementType {
        case .bfloat16: "bfloat16"
        case .float16: "float16"
        default: "float32"
        }
    }

    private func writeWeights(to directory: String, fileLimitBytes: Int) throws -> [CheckpointFile] {
        let parts = plan.files(limitBytes: fileLimitBytes)
        let types = Dictionary(uniqueKeysWithValues: plan.tensors.map { ($0.name, $0.elementType) })
        let source = MixtureWeights(dense.files, upcycling, initializerRange: configuration.initializerRange)
        let weights = parts.map { $0.map { (name: $0.name, shape: $0.shape) } }
        var files = [CheckpointFile]()
        for (part, tensors) in parts.enumerated() {
            let file = try CheckpointWeights(
                directory: directory, part: part, of: parts.count, weights: weights[part], elementTypes: types)
            for tensor in tensors {
                try source.read(tensor) { try file.store(tensor.name, part: $0) }
            }
            files.append(try file.finish())
        }
        return files + (try CheckpointWeights.writeIndex(directory: directory, weights: weights, elementTypes: types))
    }

    /// What lies beside a model and does not depend on its layers.
    private static let companions = [
        "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json", "meta.json",
    ]

    private func copyTokenizer(to directory: String) throws -> [CheckpointFile] {
        let folder = URL(fileURLWithPath: dense.directory)
        return try Self.companions.compactMap { name in
            let file = folder.appending(path: name)
            guard FileManager.default.fileExists(atPath: file.path) else { return nil }
            let data: Data
            do { data = try Data(contentsOf: file) } catch {
                throw CheckpointError(.system, file.path, "cannot be read: \(error.localizedDescription)")
            }
            return try HashedFile.write(data, directory: directory, name: name)
        }
    }
}
