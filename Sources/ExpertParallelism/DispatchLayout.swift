import ExpertPlacement
import Layers

/// Which rows of one rank travel where, and how the rows that arrive lie in memory.
///
/// A routing row goes to every tensor-parallel rank of its replica. Rows that arrive lie by expert, then source, so that
/// each expert's are one matrix. Rows that stay on their rank take their places there at once.
struct DispatchLayout {
    /// Rows to other ranks, by destination, then expert, then routing row.
    let leaving: RowList
    /// Rows of this rank for its own experts, with their places among all that arrive. Runs of neighbours are one list.
    let staying: [(list: RowList, places: Range<Int>)]
    /// Rows to and from each rank, W entries; none for the own.
    let sendCounts: [Int]
    let receiveCounts: [Int]
    /// Where rows from other ranks go: parts of what is received in rank order, and their places.
    let arriving: [(received: Range<Int>, places: Range<Int>)]
    /// Places of each expert's rows, E entries.
    let expertRows: [Range<Int>]

    /// - Parameters:
    ///   - replicas: the replica of each routing row.
    ///   - exchangeCounts: gives rank r entries r·E ..< (r+1)·E of its argument, returns what came from the ranks.
    init(
        routing: Routing, replicas: [Int], ranks: ReplicaRanks, rank: Int, worldSize: Int,
        exchangeCounts: ([Int32]) throws -> [Int32]
    ) throws {
        let (counts, rows) = Self.sort(routing, replicas: replicas, ranks: ranks, rank: rank, worldSize: worldSize)
        let arrivingCounts = try exchangeCounts(counts)
        let expertCount = routing.expertCount

        func rowCount(_ counts: [Int32], _ other: Int) -> Int {
            other == rank ? 0 : counts[other * expertCount..<(other + 1) * expertCount].reduce(0) { $0 + Int($1) }
        }
        sendCounts = (0..<worldSize).map { rowCount(counts, $0) }
        receiveCounts = (0..<worldSize).map { rowCount(arrivingCounts, $0) }
        let leavingCount = sendCounts.reduce(0, +)
        leaving = RowList(rows[..<leavingCount], of: routing)

        var arriving = [(received: Range<Int>, places: Range<Int>)]()
        var stays = [(rows: Range<Int>, places: Range<Int>)]()
        var expertRows = [Range<Int>]()
        expertRows.reserveCapacity(expertCount)
        // Next row of each source among what is received, or among `rows` for those that stay.
        var next = [Int]()
        var received = 0
        for count in receiveCounts {
            next.append(received)
            received += count
        }
        next[rank] = leavingCount
        var place = 0
        for expert in 0..<expertCount {
            let start = place
            for source in 0..<worldSize {
                let count = Int(arrivingCounts[source * expertCount + expert])
                if count == 0 { continue }
                let (rows, places) = (next[source]..<next[source] + count, place..<place + count)
                next[source] += count
                place += count
                if source != rank {
                    arriving.append((rows, places))
                } else if let last = stays.last, last.places.upperBound == places.lowerBound {
                    // Rows of the own rank lie by expert too.
                    stays[stays.count - 1] = (
                        last.rows.lowerBound..<rows.upperBound, last.places.lowerBound..<places.upperBound
                    )
                } else {
                    stays.append((rows, places))
                }
            }
            expertRows.append(start..<place)
        }
        self.arriving = arriving
        self.expertRows = expertRows
        staying = stays.map { (RowList(rows[$0.rows], of: routing), $0.places) }
    }

    /// Rows that this rank's experts get, its own included.
    var receivedCount: Int { expertRows.last?.upperBound ?? 0 }

    /// A counting sort by (destination, expert), stable in the routing row, the own rank behind all others.
    /// - Returns: rows for each (destination, expert), W·E entries, and the routing row of each row to send.
    private static func sort(
        _ routing: Routing, replicas: [Int], ranks: ReplicaRanks, rank: Int, worldSize: Int
    ) -> (counts: [Int32], rows: [Int32]) {
        let expertCount = routing.expertCount
        let experts = routing.experts.span
        let replicas = replicas.span
        var counts = [Int32](repeating: 0, count: worldSize * expertCount)
        for row in experts.indices {
            let expert = Int(experts[row])
            ranks.forEach(expert: expert, replica: replicas[row]) { counts[$0 * expertCount + expert] += 1 }
        }
        var next = [Int](repeating: 0, count: counts.count)
        var total = 0
        for destination in (0..<worldSize).filter({ $0 != rank }) + [rank] {
            for slot in destination * expertCount..<(destination + 1) * expertCount {
                next[slot] = total
                total += Int(counts[slot])
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

    var count: Int { rows.count }
}
