import Layers
import Safetensors
import Tensors

/// The tensors of the model and where a checkpoint's files have them.
struct MixtralCheckpointWeights: WeightSource {
    private struct Place {
        let reader: SafetensorsReader
        let shape: [Int]
        let stored: MixtralCheckpointNames.Place
    }
    private let places: [String: Place]

    /// - Parameter model: names and shapes of the model's weights.
    init(
        _ files: MixtralCheckpointFiles, model: [(name: String, shape: [Int])], configuration: MixtralConfiguration
    ) throws {
        let names = MixtralCheckpointNames(
            configuration, isFused: MixtralCheckpointNames.areFused(files.readers.keys, configuration))
        var places = [String: Place]()
        var surplus = Set(files.readers.keys)
        if configuration.tiesEmbeddings { surplus.remove(MixtralCheckpointFiles.tiedHead) }
        var (missing, misshapen) = (Set<String>(), Set<String>())
        for (name, shape) in model {
            let stored = names.place(of: name, shape: shape)
            surplus.remove(stored.name)
            guard let reader = files.readers[stored.name], let entry = reader.entry(stored.name) else {
                missing.insert(stored.name)
                continue
            }
            guard entry.shape == stored.shape else {
                misshapen.insert("\(stored.name) with the shape \(entry.shape), expected \(stored.shape)")
                continue
            }
            guard entry.elementType.isReadable else {
                throw SafetensorsError(
                    file: reader.path, tensor: stored.name, cause: .unreadableElementType(entry.elementType))
            }
            places[name] = Place(reader: reader, shape: shape, stored: stored)
        }
        guard missing.isEmpty && misshapen.isEmpty && surplus.isEmpty else {
            throw MixtralCheckpointError.tensorsDiffer(
                directory: files.directory, missing: missing.sorted(), misshapen: misshapen.sorted(),
                surplus: surplus.sorted())
        }
        if configuration.tiesEmbeddings { try files.checkTiedHead() }
        self.places = places
    }

    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        guard let place = places[name], place.shape == shape else {
            throw ModuleError.missingWeight(name: name, shape: shape)
        }
        let first = place.stored.firstRow
        try place.reader.read(
            place.stored.name, rows: rows.lowerBound + first..<rows.upperBound + first, columns: columns,
            into: destination)
    }
}
