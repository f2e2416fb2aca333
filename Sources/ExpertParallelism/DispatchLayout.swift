import ExpertPlacement
import Layers
import MessagePassing

/// Which rows one rank sends where in one pass of a layer and back, and how those that arrive lie in memory.
///
/// A (token, expert) pair goes to every tensor-parallel rank of its replica. A token's row goes to a rank once, with the first chunk
/// that has a pair of it there, and one row returns, the sum over the token's experts there, with the last such chunk.
struct DispatchLayout {
    /// What travels and is computed together.
    let chunks: [Chunk]
    /// Rows that come from other ranks, and sums that go back to them.
    let arrivingRowCount: Int
    /// Rows that go to other ranks, and sums that come back from them.
    let leavingRowCount: Int
    /// Sums that come back from one rank, and their tokens.
    let returns: [(rows: Range<Int>, tokens: [Int32])]
    /// The routing row of each pair of this rank's tokens, by rank that it goes to, then expert, then routing row.
    let pairs: [Int32]
    /// What of `pairs` goes to each rank, W entries.
    let leavingPairs: [Range<Int>]
    /// What comes from each rank of the pairs that come to this one, its own among them, in such an order.
    let arrivingPairs: [Range<Int>]

    struct Chunk {
        /// Tokens whose rows leave with this chunk, by destination.
        let leaving: [Int32]
        /// What of `leaving` goes to a rank.
        let departures: [(rank: Int, rows: Range<Int>)]
        /// What of all rows that arrive comes from a rank.
        let arrivals: [(rank: Int, rows: Range<Int>)]
        /// What of all sums that go back goes to a rank, when this chunk is computed.
        let sumDepartures: [(rank: Int, rows: Range<Int>)]
        /// What of all sums that come back comes from a rank.
        let sumArrivals: [(rank: Int, rows: Range<Int>)]
        /// The pairs that this rank computes with.
        let places: PairPlaces
    }

    /// Tells the other ranks which rows they get. Collective.
    /// - Parameters:
    ///   - replicas: the replica of each routing row.
    ///   - leastRows: what each expert's rows are filled up to on this rank; empty: nothing.
    init(
        routing: Routing, replicas: [Int], shards: PlacedShards, leastRows: [Int], context: ExpertParallelContext
    ) throws {
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        let (counts, pairs) = Self.sort(routing, replicas: replicas, shards: shards)
        leavingPairs = shards.ranges.map { counts[$0].total }.consecutiveRanges
        self.pairs = pairs

        let (sent, tokens) = Self.leavingRows(
            pairs, leavingPairs, routing: routing, counts: counts, shards: shards, rank: rank)
        let arriving = try ArrivingPairs(
            counts: counts, shards: shards, rows: sent.map { $0?.there ?? [] }, pairs: pairs,
            leavingPairs: leavingPairs, routing: routing, context: context)
        arrivingPairs = arriving.ranges
        let received = (0..<size).map { source -> TokenRows? in
            let range = arriving.ranges[source]
            if source == rank || range.isEmpty { return nil }
            return TokenRows(
                Array(arriving.rows[range]), pairCounts: shards.pairCounts(arriving.counts(from: source), of: rank))
        }
        let leavingRows = sent.map { $0?.count ?? 0 }.consecutiveRanges
        let arrivingRows = received.map { $0?.count ?? 0 }.consecutiveRanges
        leavingRowCount = leavingRows.last?.upperBound ?? 0
        arrivingRowCount = arrivingRows.last?.upperBound ?? 0

        let others = context.communicator.otherRanks
        returns = others.compactMap { rank in
            sent[rank].map { (leavingRows[rank], $0.returning(tokens[rank])) }
        }
        var places = PlaceCursor(
            arriving, received, firstRows: arrivingRows.map(\.lowerBound), shards: shards, rank: rank,
            expertCount: routing.expertCount)
        chunks = (0..<shards.chunkCount).map { chunk in
            func parts(
                _ all: [TokenRows?], _ places: [Range<Int>], _ part: (TokenRows) -> Range<Int>
            ) -> [(rank: Int, rows: Range<Int>)] {
                others.compactMap { rank in
                    guard let rows = all[rank].map(part), !rows.isEmpty else { return nil }
                    let start = places[rank].lowerBound
                    return (rank, start + rows.lowerBound..<start + rows.upperBound)
                }
            }
            var leaving = [Int32]()
            var departures = [(rank: Int, rows: Range<Int>)]()
            for destination in others {
                guard let rows = sent[destination]?.thereRanges[chunk], !rows.isEmpty else { continue }
                departures.append((destination, leaving.count..<leaving.count + rows.count))
                leaving += tokens[destination][rows]
            }
            return Chunk(
                leaving: leaving, departures: departures,
                arrivals: parts(received, arrivingRows) { $0.thereRanges[chunk] },
                sumDepartures: parts(received, arrivingRows) { $0.backRanges[chunk] },
                sumArrivals: parts(sent, leavingRows) { $0.backRanges[chunk] },
                places: places.next(chunk, leastRows: leastRows))
        }
    }

    /// A counting sort by shard, stable in the routing row.
    /// - Returns: pairs for each shard, and the routing row of each pair.
    private static func sort(
        _ routing: Routing, replicas: [Int], shards: PlacedShards
    ) -> (counts: [Int32], pairs: [Int32]) {
        let experts = routing.experts.span
        let replicas = replicas.span
        var counts = [Int32](repeating: 0, count: shards.experts.count)
        for row in experts.indices {
            shards.forEach(expert: Int(experts[row]), replica: replicas[row]) { counts[$0] += 1 }
        }
        var next = counts.map(Int.init).consecutiveRanges.map(\.lowerBound)
        var pairs = [Int32](repeating: 0, count: counts.total)
        for row in experts.indices {
            shards.forEach(expert: Int(experts[row]), replica: replicas[row]) { shard in
                pairs[next[shard]] = Int32(truncatingIfNeeded: row)
                next[shard] += 1
            }
        }
        return (counts, pairs)
    }

    /// Numbers the rows for each other rank in the order in which its pairs need them.
    /// - Returns: the rows, nil where there are none, and their tokens.
    private static func leavingRows(
        _ pairs: [Int32], _ ranges: [Range<Int>], routing: Routing, counts: [Int32], shards: PlacedShards, rank: Int
    ) -> (rows: [TokenRows?], tokens: [[Int32]]) {
        let (allTokens, allPairs) = (routing.tokens.span, pairs.span)
        var rows = [TokenRows?](repeating: nil, count: ranges.count)
        var tokens = [[Int32]](repeating: [], count: ranges.count)
        var allNumbers = [Int32](repeating: -1, count: ranges.count > 1 ? routing.tokenCount : 0)
        var numbers = allNumbers.mutableSpan
        for (destination, range) in ranges.enumerated() where destination != rank && !range.isEmpty {
            var there = [Int32]()
            there.reserveCapacity(range.count)
            var sent = [Int32]()
            sent.reserveCapacity(min(range.count, routing.tokenCount))
            for pair in range {
                let token = allTokens[Int(allPairs[pair])]
                if numbers[Int(token)] < 0 {
                    numbers[Int(token)] = Int32(truncatingIfNeeded: sent.count)
                    sent.append(token)
                }
                there.append(numbers[Int(token)])
            }
            for token in sent { numbers[Int(token)] = -1 }
            tokens[destination] = sent
            rows[destination] = TokenRows(
                there, pairCounts: shards.pairCounts(counts[shards.ranges[destination]], of: destination))
        }
        return (rows, tokens)
    }
}

extension Sequence<Int32> {
    /// The sum of all.
    var total: Int { reduce(0) { $0 + Int($1) } }
}

extension [Int] {
    /// Ranges of these lengths, each where the one before ends.
    var consecutiveRanges: [Range<Int>] {
        var end = 0
        return map { count in
            defer { end += count }
            return end..<end + count
        }
    }
}
