/// What an allocator has to know of a model.
public struct ExpertModel: Hashable, Sendable, Codable {
    /// D, the size of a token's hidden state.
    public let hiddenSize: Int
    /// F of each expert, [layer][expert].
    public let layers: [[Int]]

    public init(hiddenSize: Int, layers: [[Int]]) {
        self.hiddenSize = hiddenSize
        self.layers = layers
    }

    private enum CodingKeys: String, CodingKey {
        case hiddenSize = "hidden_size"
        case layers
    }
}

/// The ranks that an allocator may use.
public struct Cluster: Hashable, Sendable, Codable {
    /// Node of each rank; ranks with the same number share a node.
    public let nodes: [Int]
    /// Bytes each rank may use for experts: weights, gradients and optimizer state; nil: not limited.
    public var memoryLimits: [Int]?
    /// W.
    public var worldSize: Int { nodes.count }

    /// A cluster whose ranks' nodes are `nodes`.
    public init(nodes: [Int]) {
        self.nodes = nodes
    }

    /// A cluster of one node.
    public init(worldSize: Int) {
        nodes = [Int](repeating: 0, count: worldSize)
    }

    private enum CodingKeys: String, CodingKey {
        case nodes
        case memoryLimits = "memory_limits"
    }
}
