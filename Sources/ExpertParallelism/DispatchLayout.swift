import ExpertPlacement
import Layers

/// Which rows of one rank travel where in one chunk of an exchange, and how the rows that arrive lie in memory.
///
/// A routing row goes to every tensor-parallel rank of its replica. Rows that arrive lie by expert, then source, so that
/// each expert's are one matrix. Rows that stay on their rank take their places there at once.
struct DispatchLayout {
    /// Rows to other ranks, by destination, then expert, then routing row.
    let leaving: RowList
    /// What goes to one expert of one rank: a part of `leaving`.
    let departures: [(rank: Int, rows: Range<Int>)]
    /// Rows of this rank for its own experts, with their places among all that arrive. Runs of neighbours are one list.
    let staying: [(list: RowList, places: Range<Int>)]
    /// What comes from one rank for one expert: its places.
    let arrivals: [(rank: Int, rows: Range<Int>)]
    /// Places of each expert's rows, E entries; empty for those of other chunks.
    let expertRows: [Range<Int>]
    /// Places of zeros, which fill up experts' rows.
    let padding: [Range<Int>]

    /// The layout of each chunk.
    /// - Parameters:
    ///   - replicas: the replica of each routing row.
    ///   - destinations: all ranks in the order in which rows are sent to them, this one last.
    ///   - leastRows: what each expert's rows are filled up to on this rank; empty: nothing.
    ///   - exchangeCounts: gives rank r entries r·E ..< (r+1)·E of its argument, returns what came from the ranks.
    static func chunks(
        routing: Routing, replicas: [Int], ranks: ReplicaRanks, chunks: ExpertChunks, destinations: [Int],
        leastRows: [Int], exchangeCounts: ([Int32]) throws -> [Int32]
    ) throws -> [DispatchLayout] {
        let (counts, rows) = sort(
            routing, replicas: replicas, ranks: ranks, chunks: chunks, destinations: destinations)
        let arrivingCounts = try exchangeCounts(counts)
        var start = 0
        return (0..<chunks.count).map { chunk in
            let layout = DispatchLayout(
                chunk, of: chunks, routing: routing, rows: rows[start...], counts: counts,
                arrivingCounts: arrivingCounts,
                destinations: destinations, leastRows: leastRows)
            start += layout.leaving.count + layout.staying.reduce(0) { $0 + $1.list.count }
            return layout
        }
    }

    /// - Parameter rows: routing rows, this chunk's first.
    private init(
        _ chunk: Int, of chunks: ExpertChunks, routing: Routing, rows: ArraySlice<Int32>, counts: [Int32],
        arrivingCounts: [Int32], destinations: [Int], leastRows: [Int]
    ) {
        let expertCount = routing.expertCount
        let (rank, worldSize) = (destinations[destinations.count - 1], destinations.count)
        var departures = [(rank: Int, rows: Range<Int>)]()
        var leavingCount = 0
        for destination in destinations.dropLast() {
            for expert in 0..<expertCount where chunks[destination, expert] == chunk {
                let count = Int(counts[destination * expertCount + expert])
                if count == 0 { continue }
                departures.append((destination, leavingCount..<leavingCount + count))
                leavingCount += count
            }
        }
        self.departures = departures
        leaving = RowList(rows.prefix(leavingCount), of: routing)

        var arrivals = [(rank: Int, rows: Range<Int>)]()
        var stays = [(rows: Range<Int>, places: Range<Int>)]()
        var padding = [Range<Int>]()
        var expertRows = [Range<Int>]()
        expertRows.reserveCapacity(expertCount)
        // Own rows behind those that leave.
        var next = rows.startIndex + leavingCount
        var place = 0
        for expert in 0..<expertCount {
            let start = place
            for source in 0..<(chunks[rank, expert] == chunk ? worldSize : 0) {
                let count = Int(arrivingCounts[source * expertCount + expert])
                if count == 0 { continue }
                let places = place..<place + count
                place += count
                if source != rank {
                    arrivals.append((source, places))
                    continue
                }
                if let last = stays.last, last.places.upperBound == places.lowerBound {
                    // Rows of the own rank lie by expert too.
                    stays[stays.count - 1] = (
                        last.rows.lowerBound..<next + count, last.places.lowerBound..<places.upperBound
                    )
                } else {
                    stays.append((next..<next + count, places))
                }
                next += count
            }
            if !leastRows.isEmpty, chunks[rank, expert] == chunk, place - start < leastRows[expert] {
                padding.append(place..<start + leastRows[expert])
                place = start + leastRows[expert]
            }
            expertRows.append(start..<place)
        }
        self.arrivals = arrivals
        self.expertRows = expertRows
        self.padding = padding
        staying = stays.map { (RowList(rows[$0.rows], of: routing), $0.places) }
    }

    /// The part of `leaving` that goes to a rank.
    func leaving(to rank: Int) -> Range<Int> {
        let rows = departures.filter { $0.rank == rank }.map(\.rows)
        guard let first = rows.first, let last = rows.last else { return 0..<0 }
        return first.lowerBound..<last.upperBound
    }

    /// Rows that this rank's experts get, its own included.
    var receivedCount: Int { expertRows.last?.upperBound ?? 0 }

    /// A counting sort by (chunk, destination, expert), stable in the routing row.
    /// - Returns: rows for each (rank, expert), W·E entries, and the routing row of each row to send.
    private static func sort(
        _ routing: Routing, replicas: [Int], ranks: ReplicaRanks, chunks: ExpertChunks, destinations: [Int]
    ) -> (counts: [Int32], rows: [Int32]) {
        let expertCount = routing.expertCount
        let experts = routing.experts.span
        let replicas = replicas.span
        var counts = [Int32](repeating: 0, count: destinations.count * expertCount)
        for row in experts.indices {
            let expert = Int(experts[row])
            ranks.forEach(expert: expert, replica: replicas[row]) { counts[$0 * expertCount + expert] += 1 }
        }
        var next = [Int](repeating: 0, count: counts.count)
        var total = 0
        for chunk in 0..<chunks.count {
            for destination in destinations {
                for expert in 0..<expertCount where chunks[destination, expert] == chunk {
                    next[destination * expertCount + expert] = total
                    total += Int(counts[destination * expertCount + expert])
                }
            }
        }
        var rows = [Int32](repeating: 0, count: total)
        for row in experts.indices {
            let expert = Int(experts[row])
            ranks.forEach(expert: expert, replica: replicas[row]) { destination in
                let slot = destination * expertCount + expert
                rows[next[slot]] = Int32(truncatingIfNeeded: row)
                next[slot] += 1
            }
        }
        return (counts, rows)
    }
}

/// Routing rows with what is needed of them.
struct RowList {
    /// Index of each among the routing rows.
    let rows: [Int32]
    let tokens: [Int32]
    /// Routing weights.
    let weights: [Float]

    init(_ rows: ArraySlice<Int32>, of routing: Routing) {
        let (allTokens, allWeights) = (routing.tokens.span, routing.weights.span)
        self.rows = Array(rows)
        tokens = rows.map { allTokens[Int($0)] }
        weights = rows.map { allWeights[Int($0)] }
    }

    private init(rows: [Int32], tokens: [Int32], weights: [Float]) {
        (self.rows, self.tokens, self.weights) = (rows, tokens, weights)
    }

    var count: Int { rows.count }

    func part(_ range: Range<Int>) -> RowList {
        if range == 0..<count { return self }
        return RowList(rows: Array(rows[range]), tokens: Array(tokens[range]), weights: Array(weights[range]))
    }
}
