/// The ranks that an allocator may use.
public struct Cluster: Hashable, Sendable {
    /// Node of each rank; ranks with the same number share a node.
    public let nodes: [Int]
    /// Bytes each rank may use for experts, as `PlanMemory` counts them, W entries; nil: not limited.
    public var memoryLimits: [Int]?
    /// What messages between the ranks cost, as measured at start; nil: not measured.
    public var exchange: ExchangeCosts?
    /// What messages between ranks of different nodes cost, where that is known; then `exchange` is of those within one.
    public var exchangeBetweenNodes: ExchangeCosts?
    /// Where optimizer state is kept, which decides what a move costs and what a rank's memory holds.
    public var ownership: OwnershipPolicy
    /// W.
    public var worldSize: Int { nodes.count }

    /// A cluster whose ranks' nodes are `nodes`, without limits.
    public init(nodes: [Int]) {
        self.init(nodes: nodes, memoryLimits: nil)
    }

    public init(
        nodes: [Int], memoryLimits: [Int]?, exchange: ExchangeCosts? = nil, exchangeBetweenNodes: ExchangeCosts? = nil,
        ownership: OwnershipPolicy = .defaultPolicy
    ) {
        self.nodes = nodes
        self.memoryLimits = memoryLimits
        self.exchange = exchange
        self.exchangeBetweenNodes = exchangeBetweenNodes
        self.ownership = ownership
    }

    /// The node of each of so many ranks, spread over nodes in order, as evenly as can be.
    public static func nodes(ranks: Int, nodes: Int) -> [Int] { (0..<ranks).map { $0 * nodes / ranks } }

    /// A cluster of one node.
    public init(worldSize: Int) {
        self.init(nodes: [Int](repeating: 0, count: worldSize))
    }
}

/// What messages between ranks cost.
public struct ExchangeCosts: Hashable, Sendable, Codable {
    /// Seconds of an all-to-all exchange without bytes.
    public var latencySeconds: Double
    /// Bytes a second that a rank sends and receives while all others do so too, gathering and putting them in place
    /// included.
    public var bytesPerSecond: Double

    public init(latencySeconds: Double, bytesPerSecond: Double) {
        self.latencySeconds = latencySeconds
        self.bytesPerSecond = bytesPerSecond
    }

    /// What a measurement can have come out as.
    public static let latencies = 0.0...3600
    public static let bandwidths = 1.0...1e18

    public var isSensible: Bool {
        Self.latencies.contains(latencySeconds) && Self.bandwidths.contains(bytesPerSecond)
    }

    private enum CodingKeys: String, CodingKey {
        case latencySeconds = "latency_seconds"
        case bytesPerSecond = "bytes_per_second"
    }
}

extension Cluster: Codable {
    private enum CodingKeys: String, CodingKey {
        case nodes, exchange, ownership
        case memoryLimits = "memory_limits"
        case exchangeBetweenNodes = "exchange_between_nodes"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            nodes: try values.decode([Int].self, forKey: .nodes),
            memoryLimits: try values.decodeIfPresent([Int].self, forKey: .memoryLimits),
            exchange: try values.decodeIfPresent(ExchangeCosts.self, forKey: .exchange),
            exchangeBetweenNodes: try values.decodeIfPresent(ExchangeCosts.self, forKey: .exchangeBetweenNodes),
            ownership: try values.decodeIfPresent(OwnershipPolicy.self, forKey: .ownership) ?? .defaultPolicy)
    }
}
