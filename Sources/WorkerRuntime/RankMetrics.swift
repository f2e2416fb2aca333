import MessagePassing

/// What each rank did for the experts in one step.
public struct RankMetrics: Sendable, Equatable {
    /// Rows that the rank computed, [layer][rank].
    public var rows = [[Int]]()
    /// Each of them times the neurons of its shard, [layer][rank].
    public var work = [[Int]]()
    /// Seconds of the experts' forward and backward, and those of them in which the rank had a processor, W entries.
    public var expertSeconds = [Double]()
    public var processorSeconds = [Double]()
    /// Seconds of attention, dense networks and router in which the rank had a processor, W entries.
    public var denseProcessorSeconds = [Double]()
    /// Seconds of dispatch and combine, waiting for other ranks included, W entries.
    public var exchangeSeconds = [Double]()

    public init() {}

    /// What one rank contributes.
    struct Own {
        /// By layer.
        var rows: [Int]
        var work: [Int]
        var expertSeconds: Double
        var processorSeconds: Double
        var denseProcessorSeconds: Double
        var exchangeSeconds: Double
    }

    /// Collects the ranks' figures on all of them. Collective.
    init(_ own: Own, communicator: any Communicator) throws {
        let layers = own.rows.count
        // Counts are exact in a Double up to 2^53.
        let block =
            own.rows.map(Double.init) + own.work.map(Double.init)
            + [own.expertSeconds, own.processorSeconds, own.denseProcessorSeconds, own.exchangeSeconds]
        let all = try communicator.allGather(block)
        let ranks = (0..<communicator.size).map { Array(all[$0 * block.count..<($0 + 1) * block.count]) }
        rows = (0..<layers).map { layer in ranks.map { Int($0[layer]) } }
        work = (0..<layers).map { layer in ranks.map { Int($0[layers + layer]) } }
        expertSeconds = ranks.map { $0[2 * layers] }
        processorSeconds = ranks.map { $0[2 * layers + 1] }
        denseProcessorSeconds = ranks.map { $0[2 * layers + 2] }
        exchangeSeconds = ranks.map { $0[2 * layers + 3] }
    }
}
