/// What computing, exchanging and moving experts costs, in seconds.
///
/// Parameters and gradients of a neuron are 3·D values (a row of w1 and of w3, a column of w2), its two moments 6·D.
public struct CostModel: Hashable, Sendable, Codable {
    /// Seconds an average rank spends on one row of one expert whatever the shard's width, forward and backward.
    public var rowSeconds: Double
    /// Further seconds for each neuron of the shard.
    public var neuronSeconds: Double
    /// Seconds of each rank relative to the average, W entries: a slow machine has more than 1. Empty: all are alike.
    public var slowness: [Double]
    /// Relative standard error of what `slowness` has that is not 1.
    public var slownessError: Double
    /// Seconds of an exchange without bytes.
    public var exchangeLatencySeconds: Double
    /// Bytes a second that a rank sends and receives, gathering and putting them in place included.
    public var bytesPerSecond: Double
    /// Ranks on several nodes, when messages between them cost more; then `bytesPerSecond` is within a node. nil: all
    /// messages cost alike.
    public var nodeLinks: NodeLinks?
    /// Bytes of a parameter, a gradient and a hidden value.
    public var valueBytes: Int
    /// Bytes of a moment.
    public var momentBytes: Int
    /// Where optimizer state is kept.
    public var ownership: OwnershipPolicy

    /// The values given hold until measurements replace them.
    public init(
        rowSeconds: Double = 0, neuronSeconds: Double = 1e-7, slowness: [Double] = [], slownessError: Double = 0,
        exchangeLatencySeconds: Double = 5e-5, bytesPerSecond: Double = 4e9, nodeLinks: NodeLinks? = nil,
        valueBytes: Int = 4, momentBytes: Int = 4,
        ownership: OwnershipPolicy = .defaultPolicy
    ) {
        self.rowSeconds = rowSeconds
        self.neuronSeconds = neuronSeconds
        self.slowness = slowness
        self.slownessError = slownessError
        self.exchangeLatencySeconds = exchangeLatencySeconds
        self.bytesPerSecond = bytesPerSecond
        self.nodeLinks = nodeLinks
        self.valueBytes = valueBytes
        self.momentBytes = momentBytes
        self.ownership = ownership
    }

    /// A guess before anything is measured: 18·D operations for a row and neuron at 50 billion a second.
    public static func nominal(hiddenSize: Int) -> CostModel {
        CostModel(neuronSeconds: rowOperations(hiddenSize: hiddenSize) / 50e9)
    }

    /// Operations of a row and neuron: for each of three matrices 2·D forward and 4·D backward.
    public static func rowOperations(hiddenSize: Int) -> Double { 18 * Double(hiddenSize) }

    /// Seconds that `rank` takes for what others take one for.
    func slowness(of rank: Int) -> Double { slowness.isEmpty ? 1 : slowness[rank] }

    /// Seconds `rank` computes on a row with a shard of `neurons`.
    public func secondsPerRow(neurons: Int, rank: Int) -> Double {
        (rowSeconds + neuronSeconds * Double(neurons)) * slowness(of: rank)
    }

    /// Seconds a row costs a rank in exchanges: its hidden state comes, its output returns, and both gradients alike.
    /// Rows come from all ranks alike; the part that is the rank's own, one of W, does not travel. An upper bound: a token's row
    /// travels once for all experts of a rank, but which experts tokens take together is not known.
    public func exchangeSecondsPerRow(hiddenSize: Int, worldSize: Int, rank: Int) -> Double {
        let bytes = 4 * Double(hiddenSize * valueBytes)
        guard let links = nodeLinks else {
            let away = Double(worldSize - 1) / Double(worldSize)
            return away * bytes / bytesPerSecond
        }
        let near = Double(links.neighbours[rank] - 1) / Double(worldSize)
        let far = Double(worldSize - links.neighbours[rank]) / Double(worldSize)
        return bytes * (near / bytesPerSecond + far / links.exchange.bytesPerSecond)
    }

    /// Seconds a step that a replica which does not own `neurons` spends to send their gradients and fetch their weights.
    /// - Parameter far: the part of them that is owned on other nodes.
    public func synchronisationSeconds(neurons: Int, hiddenSize: Int, far: Double = 0) -> Double {
        let bytes = 2 * 3 * Double(neurons * hiddenSize * valueBytes)
        guard let links = nodeLinks, far > 0 else { return bytes / bytesPerSecond }
        return bytes * ((1 - far) / bytesPerSecond + far / links.exchange.bytesPerSecond)
    }

    /// Bytes a second of the slowest link that a move may take.
    public var moveBytesPerSecond: Double { min(bytesPerSecond, nodeLinks?.exchange.bytesPerSecond ?? bytesPerSecond) }

    /// Bytes of `neurons` that arrive for a new replica: weights.
    public func replicaBytes(neurons: Int, hiddenSize: Int) -> Int {
        3 * neurons * hiddenSize * valueBytes
    }

    /// Bytes of `neurons` that arrive at a new home besides the weights: both moments, and master weights where
    /// values are narrower than moments.
    public func homeBytes(neurons: Int, hiddenSize: Int) -> Int {
        let masters = valueBytes < momentBytes ? 3 : 0
        return (6 + masters) * neurons * hiddenSize * momentBytes
    }

    /// Seconds that a change takes: each rank receives its bytes while others receive theirs, from other nodes maybe.
    public func seconds(_ change: PlacementChange, hiddenSize: Int) -> Double {
        if change.isEmpty { return 0 }
        let busiest =
            zip(change.replicaNeurons, change.homeNeurons).map { replica, home in
                replicaBytes(neurons: replica, hiddenSize: hiddenSize)
                    + homeBytes(neurons: home, hiddenSize: hiddenSize)
            }.max() ?? 0
        return exchangeLatencySeconds + Double(busiest) / moveBytesPerSecond
    }

    /// - Throws: `PlacementError.unsuitableAllocator` when a value is no cost.
    public func validate(worldSize: Int) throws(PlacementError) {
        let costs = [rowSeconds, neuronSeconds, slownessError, exchangeLatencySeconds]
        guard costs.allSatisfy({ $0.isFinite && $0 >= 0 }), rowSeconds + neuronSeconds > 0,
            bytesPerSecond.isFinite, bytesPerSecond > 0, valueBytes > 0, momentBytes > 0
        else {
            throw .unsuitableAllocator("costs must not be negative, and a row and a byte must cost something: \(self)")
        }
        guard nodeLinks.map({ $0.nodes.count == worldSize && $0.exchange.isSensible }) ?? true else {
            throw .unsuitableAllocator("links between nodes must be of all \(worldSize) ranks, and cost something")
        }
        guard slowness.isEmpty || slowness.count == worldSize, slowness.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw .unsuitableAllocator("slowness \(slowness) must have a positive entry for each of \(worldSize) ranks")
        }
    }
}
