/// The global expert placement plan: a mesh for each expert of each layer.
public struct PlacementPlan: Hashable, Sendable {
    /// The version of this format that the code writes and reads.
    public static let formatVersion = 1

    /// The largest world, and the most ranks that the meshes of one plan list, each mesh counted.
    public static let worldSizeLimit = 16_384
    public static let rankLimit = 1 << 20

    /// Counts up from 1 within a run and is never used twice. 0: not yet recorded.
    public var revision: Int
    /// W, the world size it was made for.
    public let worldSize: Int
    /// Node of each rank, W entries: ranks with the same number share a node.
    public let nodes: [Int]
    /// Layers from 0.
    public let layers: [LayerPlacement]

    /// - Throws: `PlacementError` when a rank or the topology is out of range.
    public init(
        revision: Int = 0, worldSize: Int, nodes: [Int]? = nil, layers: [LayerPlacement]
    ) throws(PlacementError) {
        guard (1...Self.worldSizeLimit).contains(worldSize) else {
            throw .invalidPlan("world size \(worldSize) is not from 1 to \(Self.worldSizeLimit)")
        }
        guard revision >= 0 else { throw .invalidPlan("revision \(revision)") }
        let nodes = nodes ?? [Int](repeating: 0, count: worldSize)
        guard nodes.count == worldSize else {
            throw .invalidPlan("nodes of \(nodes.count) ranks are listed, the world has \(worldSize)")
        }
        guard nodes.allSatisfy({ $0 >= 0 }) else { throw .invalidPlan("nodes \(nodes) must not be negative") }
        for (layer, placement) in layers.enumerated() {
            for (expert, placement) in placement.experts.enumerated() {
                if let rank = placement.mesh.ranks.first(where: { $0 >= worldSize }) {
                    throw .invalidPlan(
                        "layer \(layer), expert \(expert): rank \(rank) is not in a world of \(worldSize)")
                }
            }
        }
        self.revision = revision
        self.worldSize = worldSize
        self.nodes = nodes
        self.layers = layers
    }

    /// Ranks that its meshes list, each mesh counted: at most `rankLimit` are accepted from outside.
    package var listedRanks: Int { layers.reduce(0) { $0 + $1.listedRanks } }

    /// - Throws: `PlacementError` when the plan was made for other layers, experts or widths than `model` has, or for
    ///   another world size.
    public func validate(for model: ExpertModel, worldSize: Int) throws(PlacementError) {
        guard worldSize == self.worldSize else {
            throw .invalidPlan("made for \(self.worldSize) ranks, the world has \(worldSize)")
        }
        guard layers.count == model.layers.count else {
            throw .invalidPlan("made for \(layers.count) layers, the model has \(model.layers.count)")
        }
        for (layer, (placement, widths)) in zip(layers, model.layers).enumerated() {
            let planned = placement.experts.map(\.width)
            guard planned == widths else {
                throw .invalidPlan("layer \(layer): made for experts of widths \(planned), the model's are \(widths)")
            }
        }
    }
}

/// The experts of one layer.
public struct LayerPlacement: Hashable, Sendable, Codable {
    /// Experts from 0.
    public let experts: [ExpertPlacement]
    /// The first training step of this layer under the plan; nil while it has not switched.
    public var switchStep: Int?

    public init(experts: [ExpertPlacement], switchStep: Int? = nil) {
        self.experts = experts
        self.switchStep = switchStep
    }

    private enum CodingKeys: String, CodingKey {
        case experts
        case switchStep = "switch_step"
    }

    /// Ranks that the experts' meshes list, those on several meshes counted in each.
    package var listedRanks: Int { experts.reduce(0) { $0 + $1.mesh.ranks.count } }
}

extension PlacementPlan: Codable {
    private enum CodingKeys: String, CodingKey {
        case format, revision, nodes, layers
        case worldSize = "world_size"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let format = try values.decode(Int.self, forKey: .format)
        guard format == Self.formatVersion else {
            throw PlacementError.invalidPlan("format \(format); this program reads format \(Self.formatVersion)")
        }
        try self.init(
            revision: values.decode(Int.self, forKey: .revision),
            worldSize: values.decode(Int.self, forKey: .worldSize),
            nodes: values.decode([Int].self, forKey: .nodes),
            layers: values.decode([LayerPlacement].self, forKey: .layers))
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(Self.formatVersion, forKey: .format)
        try values.encode(revision, forKey: .revision)
        try values.encode(worldSize, forKey: .worldSize)
        try values.encode(nodes, forKey: .nodes)
        try values.encode(layers, forKey: .layers)
    }
}
