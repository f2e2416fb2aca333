import Foundation
import Safetensors
import Tensors

/// The safetensors files of a checkpoint, opened: one, or as many as the index names.
package struct MixtralCheckpointFiles {
    package let directory: String
    /// The file of each tensor.
    package let readers: [String: SafetensorsReader]

    /// - Parameter files: those that may be read; nil: all.
    package init(_ folder: URL, files: Set<String>? = nil) throws {
        directory = folder.path
        /// What is there, and may be read.
        func path(_ name: String) throws -> String? {
            let path = folder.appending(path: name).path
            guard FileManager.default.fileExists(atPath: path) else { return nil }
            guard files?.contains(name) != false else { throw MixtralCheckpointError.surplusFile(path) }
            return path
        }
        // When both are there, transformers takes the single file.
        if let single = try path("model.safetensors") {
            let reader = try SafetensorsReader(path: single)
            readers = Dictionary(
                reader.header.entries.map { ($0.name, reader) }, uniquingKeysWith: { first, _ in first })
        } else if let index = try path("model.safetensors.index.json") {
            readers = try Self.open(index: URL(fileURLWithPath: index), in: folder, files: files)
        } else {
            throw MixtralCheckpointError.noWeights(directory: directory)
        }
    }

    /// The tensor that files of a model whose head has the embedding's weights may have besides: the embedding once more.
    package static let tiedHead = "lm_head.weight"

    /// Compares `tiedHead`, where there is one, with the embedding, which is known to be there.
    /// - Throws: `MixtralCheckpointError.headDiffers`, or `SafetensorsError` when the tensors cannot be read.
    package func checkTiedHead() throws {
        let (head, embedding) = (Self.tiedHead, "model.embed_tokens.weight")
        guard let headReader = readers[head], let embeddingReader = readers[embedding] else { return }
        guard let entry = embeddingReader.entry(embedding), headReader.entry(head)?.shape == entry.shape else {
            throw MixtralCheckpointError.headDiffers(directory: directory)
        }
        let (rows, columns) = entry.matrixShape
        // Some megabytes at a time.
        let partRows = max(1, (1 << 20) / max(1, columns))
        for start in stride(from: 0, to: rows, by: partRows) {
            let part = start..<min(start + partRows, rows)
            let values = try [(headReader, head), (embeddingReader, embedding)].map { reader, name in
                let tensor = Tensor(rows: part.count, columns: columns)
                try reader.read(name, rows: part, columns: 0..<columns, into: tensor)
                return tensor.array
            }
            guard values[0] == values[1] else {
                throw MixtralCheckpointError.headDiffers(directory: directory)
            }
        }
    }

    private struct Index: Decodable {
        let files: [String: String]
        enum CodingKeys: String, CodingKey { case files = "weight_map" }
    }

    private static func open(
        index file: URL, in folder: URL, files: Set<String>?
    ) throws -> [String: SafetensorsReader] {
        let index: Index
        do {
            index = try JSONDecoder().decode(Index.self, from: try Data(contentsOf: file))
        } catch {
            throw MixtralCheckpointError.invalidIndex(
                file: file.path, reason: "is no index of safetensors files (an object with \"weight_map\")")
        }
        let open = OpenFiles()
        var readers = [String: SafetensorsReader]()
        for name in Set(index.files.values).sorted() {
            // A path could lead out of the directory.
            guard !name.isEmpty, name != ".", name != "..", !name.contains(where: { $0 == "/" || $0 == "\0" }) else {
                throw MixtralCheckpointError.invalidIndex(
                    file: file.path, reason: "\"\(name)\" in weight_map is not a plain file name")
            }
            let path = folder.appending(path: name).path
            guard files?.contains(name) != false else { throw MixtralCheckpointError.surplusFile(path) }
            let reader = try SafetensorsReader(path: path, among: open)
            for entry in reader.header.entries {
                guard index.files[entry.name] == name else {
                    throw MixtralCheckpointError.invalidIndex(
                        file: file.path, reason: "does not place the tensor \"\(entry.name)\" in \(name), which has it")
                }
                readers[entry.name] = reader
            }
        }
        for (tensor, name) in index.files.sorted(by: { $0.key < $1.key }) where readers[tensor] == nil {
            throw MixtralCheckpointError.invalidIndex(
                file: file.path, reason: "places the tensor \"\(tensor)\" in \(name), which lacks it")
        }
        return readers
    }
}
