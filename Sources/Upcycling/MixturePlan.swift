import Layers
import Mixtral
import Safetensors

/// Which tensors a mixture has, and what each is made of: checked against the dense model's files, before anything is written.
struct MixturePlan {
    let configuration: MixtralConfiguration
    /// In the order of the mixture's modules.
    let tensors: [MixtureTensor]
    /// G
    let slices: Int

    /// - Throws: `UpcyclingError`, `MixtralConfigurationError`, `SafetensorsError`, or `MixtralCheckpointError` that names every tensor
    ///   of the dense model that is missing, misshapen, or not part of it.
    init(_ dense: DenseModel, _ upcycling: Upcycling) throws {
        slices = try upcycling.slices(denseWidth: dense.width)
        configuration = try dense.mixtureConfiguration(upcycling, expertWidth: dense.width / slices)
        var finder = DenseTensorFinder(dense)
        let blocks = DenseBlocks(
            hiddenSize: configuration.hiddenSize, width: dense.width, slices: slices,
            hasSharedExpert: dense.type.mixtureHasSharedExpert)
        var tensors = [MixtureTensor]()
        for (name, shape) in MixtralModel(configuration: configuration).namedWeights() {
            let source: MixtureTensor.Source
            let type: SafetensorsElementType?
            switch MixtureRole(name: name) {
            case .router(let layer):
                source = .router(alikeRows: slices)
                type = finder.type(of: MixtureRole.denseName(.gate, layer: layer))
            case .sharedExpertGate(let layer):
                source = .zeros
                type = finder.type(of: MixtureRole.denseName(.gate, layer: layer))
            case .expert(let expert, let projection, let layer):
                let dense = MixtureRole.denseName(projection, layer: layer)
                source = blocks.slice(expert % slices, of: dense, projection)
                type = try finder.find(dense, shape: blocks.shape(projection))
            case .sharedExpert(let projection, let layer):
                let dense = MixtureRole.denseName(projection, layer: layer)
                source = .copy(of: dense)
                type = try finder.find(dense, shape: blocks.shape(projection))
            case .other:
                source = .copy(of: name)
                type = try finder.find(name, shape: shape)
            }
            tensors.append(MixtureTensor(name: name, shape: shape, elementType: type ?? .float32, source: source))
        }
        try finder.finish(tiesEmbeddings: !tensors.contains { $0.name == MixtralCheckpointFiles.tiedHead })
        self.tensors = tensors
    }

    /// The tensors in files of at most so many bytes, each with at least one.
    func files(limitBytes: Int) -> [[MixtureTensor]] {
        var files = [[MixtureTensor]]()
        var bytes = 0
        for tensor in tensors {
            if files.isEmpty || bytes + tensor.bytes > limitBytes {
                files.append([])
                bytes = 0
            }
            files[files.count - 1].append(tensor)
            bytes += tensor.bytes
        }
        return files
    }
}

/// Parts of the three matrices of dense networks.
private struct DenseBlocks {
    /// D
    let hiddenSize: Int
    /// Of the dense network.
    let width: Int
    /// G
    let slices: Int
    let hasSharedExpert: Bool

    /// Of the dense matrix.
    func shape(_ projection: MixtureRole.Projection) -> [Int] {
        projection == .down ? [hiddenSize, width] : [width, hiddenSize]
    }

    /// Slices of a copy get the copy's weight divided by G each, and add up to what the copy gives when that is made good. Beside a shared
    /// expert, which is a copy, too, and whose gate begins at 0, so that it counts half, they give the other half.
    func slice(_ index: Int, of dense: String, _ projection: MixtureRole.Projection) -> MixtureTensor.Source {
        let neurons = index * (width / slices)..<(index + 1) * (width / slices)
        guard projection == .down else {
            return .block(of: dense, rows: neurons, columns: 0..<hiddenSize, factor: 1, isNoisy: true)
        }
        let factor = Float(slices) * (hasSharedExpert ? 0.5 : 1)
        return .block(of: dense, rows: 0..<hiddenSize, columns: neurons, factor: factor, isNoisy: true)
    }
}

/// Looks tensors up in the dense model's files, and keeps account of what is not as it should be.
private struct DenseTensorFinder {
    private let dense: DenseModel
    private var missing = Set<String>()
    private var misshapen = Set<String>()
    private var unused: Set<String>

    init(_ dense: DenseModel) {
        self.dense = dense
        unused = Set(dense.files.readers.keys)
    }

    func type(of name: String) -> SafetensorsElementType? { dense.files.readers[name]?.entry(name)?.elementType }

    /// - Returns: its type; nil when it is not there or of another shape.
    /// - Throws: `SafetensorsError` when it is of a type that cannot be read.
    mutating func find(_ name: String, shape: [Int]) throws -> SafetensorsElementType? {
        unused.remove(name)
        guard let reader = dense.files.readers[name], let entry = reader.entry(name) else {
            missing.insert(name)
            return nil
        }
        guard entry.shape == shape else {
            misshapen.insert("\(name) with the shape \(entry.shape), expected \(shape)")
            return nil
        }
        guard entry.elementType.isReadable else {
            throw SafetensorsError(
                file: reader.path, tensor: name, cause: .unreadableElementType(entry.elementType))
        }
        return entry.elementType
    }

    /// - Throws: `MixtralCheckpointError` when anything was not as it should be.
    func finish(tiesEmbeddings: Bool) throws {
        // Old files have rotary frequencies, and some a head that is the embedding once more.
        let surplus = unused.filter {
            !$0.hasSuffix(".rotary_emb.inv_freq") && !(tiesEmbeddings && $0 == MixtralCheckpointFiles.tiedHead)
        }
        guard missing.isEmpty && misshapen.isEmpty && surplus.isEmpty else {
            throw MixtralCheckpointError.tensorsDiffer(
                directory: dense.directory, missing: missing.sorted(), misshapen: misshapen.sorted(),
                surplus: surplus.sorted())
        }
        if tiesEmbeddings { try dense.files.checkTiedHead() }
    }
}
