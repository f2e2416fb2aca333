import Layers
import MessagePassing

/// The pairs that come to one rank, its own among them: by rank that they come from, then expert, then the other's routing row.
struct ArrivingPairs {
    /// Pairs for each shard of this rank, by rank that they come from.
    private let counts: [Int32]
    /// Pairs of each rank, W entries.
    let ranges: [Range<Int>]
    /// Of each pair the row that brings its token, counted for each rank from 0, or this rank's token.
    let rows: [Int32]
    /// Routing weights.
    let weights: [Float]

    /// Collective.
    /// - Parameters:
    ///   - counts: this rank's pairs for each shard of all ranks.
    ///   - rows: of each pair for each rank the row that brings its token; of the own rank's none.
    ///   - pairs: routing rows.
    ///   - leavingPairs: what of `pairs` goes to each rank.
    init(
        counts: [Int32], shards: PlacedShards, rows: [[Int32]], pairs: [Int32], leavingPairs: [Range<Int>],
        routing: Routing, context: ExpertParallelContext
    ) throws {
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        let own = pairs[leavingPairs[rank]]
        let (tokens, allWeights) = (routing.tokens.span, routing.weights.span)
        let shardCount = shards.ranges[rank].count
        let arriving = try context.allToAll(
            counts, sendCounts: shards.ranges.map(\.count), receiveCounts: [Int](repeating: shardCount, count: size))
        self.counts = arriving
        ranges = (0..<size).map { arriving[$0 * shardCount..<($0 + 1) * shardCount].total }.consecutiveRanges

        // Rows, then the weights' bits.
        var sent = [Int32]()
        sent.reserveCapacity(2 * (pairs.count - own.count))
        for destination in 0..<size where destination != rank {
            sent += rows[destination]
            for pair in leavingPairs[destination] {
                sent.append(Int32(bitPattern: allWeights[Int(pairs[pair])].bitPattern))
            }
        }
        func entries(_ ranges: [Range<Int>]) -> [Int] {
            ranges.enumerated().map { $0 == rank ? 0 : 2 * $1.count }
        }
        let received = try context.allToAll(
            sent, sendCounts: entries(leavingPairs), receiveCounts: entries(ranges))
        var allRows = [Int32]()
        var weights = [Float]()
        allRows.reserveCapacity(ranges.last?.upperBound ?? 0)
        weights.reserveCapacity(ranges.last?.upperBound ?? 0)
        var start = 0
        for (source, range) in ranges.enumerated() {
            if source == rank {
                for pair in own {
                    allRows.append(tokens[Int(pair)])
                    weights.append(allWeights[Int(pair)])
                }
                continue
            }
            allRows += received[start..<start + range.count]
            for bits in received[start + range.count..<start + 2 * range.count] {
                weights.append(Float(bitPattern: UInt32(bitPattern: bits)))
            }
            start += 2 * range.count
        }
        self.rows = allRows
        self.weights = weights
    }

    /// Pairs for each shard of this rank from another.
    func counts(from source: Int) -> ArraySlice<Int32> {
        let shardCount = counts.count / ranges.count
        return counts[source * shardCount..<(source + 1) * shardCount]
    }
}
