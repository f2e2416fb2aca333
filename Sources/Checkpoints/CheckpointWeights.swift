import Foundation
import Layers
import Safetensors
import Tensors

/// One of the files that hold the weights, in Hugging Face's form, as a sink: weights come in the order announced.
public final class CheckpointWeights: WeightSink {
    private let file: HashedFile
    private let writer: SafetensorsWriter

    /// - Parameters:
    ///   - directory: where the checkpoint is written.
    ///   - part: of `parts`, which together have all weights.
    ///   - elementTypes: of weights that are not fp32.
    public init(
        directory: String, part: Int, of parts: Int, weights: [(name: String, shape: [Int])],
        elementTypes: [String: SafetensorsElementType] = [:]
    ) throws {
        file = try HashedFile(directory: directory, name: CheckpointManifest.modelFile(part: part, of: parts))
        writer = try SafetensorsWriter(to: file, tensors: weights, elementTypes: elementTypes)
    }

    public func store(_ name: String, shape: [Int], _ values: Tensor) throws { try writer.write(name, values) }

    /// Takes the next entries, which lie without gaps, of the next weight.
    package func store(_ name: String, part values: Tensor) throws { try writer.write(name, part: values) }

    /// Returns when the file is on the disk.
    public func finish() throws -> CheckpointFile {
        try writer.finish()
        return file.entry
    }

    /// Writes the index that says which of several files has which weight, when there are several.
    /// - Parameters:
    ///   - weights: of each file, in the files' order.
    ///   - elementTypes: of weights that are not fp32.
    public static func writeIndex(
        directory: String, weights: [[(name: String, shape: [Int])]],
        elementTypes: [String: SafetensorsElementType] = [:]
    ) throws -> [CheckpointFile] {
        guard weights.count > 1 else { return [] }
        var index = Index(metadata: .init(totalSize: 0), files: [:])
        for (part, own) in weights.enumerated() {
            for (name, shape) in own {
                index.files[name] = CheckpointManifest.modelFile(part: part, of: weights.count)
                index.metadata.totalSize += shape.reduce((elementTypes[name] ?? .float32).sizeBits / 8, *)
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return [
            try HashedFile.write(
                encoder.encode(index), directory: directory, name: CheckpointManifest.modelIndex)
        ]
    }

    private struct Index: Encodable {
        struct Metadata: Encodable {
            var totalSize: Int
            enum CodingKeys: String, CodingKey { case totalSize = "total_size" }
        }
        var metadata: Metadata
        var files: [String: String]
        enum CodingKeys: String, CodingKey {
            case metadata
            case files = "weight_map"
        }
    }
}
