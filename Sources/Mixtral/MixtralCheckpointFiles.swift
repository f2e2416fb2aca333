import Foundation
import Safetensors

/// The safetensors files of a checkpoint, opened: one, or as many as the index names.
package struct MixtralCheckpointFiles {
    package let directory: String
    /// The file of each tensor.
    package let readers: [String: SafetensorsReader]

    package init(_ folder: URL) throws {
        directory = folder.path
        let single = folder.appending(path: "model.safetensors").path
        let index = folder.appending(path: "model.safetensors.index.json")
        // When both are there, transformers takes the single file.
        if FileManager.default.fileExists(atPath: single) {
            let reader = try SafetensorsReader(path: single)
            readers = Dictionary(
                reader.header.entries.map { ($0.name, reader) }, uniquingKeysWith: { first, _ in first })
        } else if FileManager.default.fileExists(atPath: index.path) {
            readers = try Self.open(index: index, in: folder)
        } else {
            throw MixtralCheckpointError.noWeights(directory: directory)
        }
    }

    private struct Index: Decodable {
        let files: [String: String]
        enum CodingKeys: String, CodingKey { case files = "weight_map" }
    }

    private static func open(index file: URL, in folder: URL) throws -> [String: SafetensorsReader] {
        let index: Index
        do {
            index = try JSONDecoder().decode(Index.self, from: try Data(contentsOf: file))
        } catch {
            throw MixtralCheckpointError.invalidIndex(
                file: file.path, reason: "is no index of safetensors files (an object with \"weight_map\")")
        }
        var opened = [String: SafetensorsReader]()
        var readers = [String: SafetensorsReader]()
        for name in Set(index.files.values).sorted() {
            // A path could lead out of the directory.
            guard !name.isEmpty, name != ".", name != "..", !name.contains(where: { $0 == "/" || $0 == "\0" }) else {
                throw MixtralCheckpointError.invalidIndex(
                    file: file.path, reason: "\"\(name)\" in weight_map is not a plain file name")
            }
            let reader = try SafetensorsReader(path: folder.appending(path: name).path)
            opened[name] = reader
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
