import ExpertPlacement
import Layers

/// Which rows of one rank travel where, and how the rows that arrive lie in memory.
///
/// A routing row goes to every tensor-parallel rank of its replica. Rows to send are ordered by destination, then expert,
/// then routing row. Rows that arrive are needed by expert, then source; `blocks` says which part goes where.
struct DispatchLayout {
    /// M entries, for each row to send: the routing row it comes from.
    let sentRows: [Int32]
    /// M entries: the token of each row to send.
    let sentTokens: [Int32]
    /// Rows to each rank, W entries, the own rank's included.
    let sendCounts: [Int]
    /// Rows from each rank, W entries, the own rank's included.
    let receiveCounts: [Int]
    /// Parts of the rows that arrived which one expert got from one source, by expert, then source.
    let blocks: [Block]
    /// Rows of each expert after arrival, as ranges of the rows ordered by expert; E entries.
    let expertRows: [Range<Int>]
    let rank: Int

    /// The rows from `source` for one expert.
    struct Block {
        let source: Int
        /// First of them among the rows from `source`.
        let offset: Int
        /// Their place among all rows ordered by expert.
        let rows: Range<Int>
    }

    /// First send row for each destination, with the end as last entry.
    let sendOffsets: [Int]

    /// - Parameters:
    ///   - replicas: the replica of each routing row.
    ///   - exchangeCounts: gives rank r entries r·E ..< (r+1)·E of its argument, returns what came from the ranks.
    init(
        routing: Routing, replicas: [Int], placement: LayerPlacement, rank: Int, worldSize: Int,
        exchangeCounts: ([Int32]) throws -> [Int32]
    ) throws {
        let expertCount = routing.expertCount
        self.rank = rank

        // A counting sort by (destination, expert), stable in the routing row.
        var counts = [Int32](repeating: 0, count: worldSize * expertCount)
        for row in 0..<routing.count {
            let expert = Int(routing.experts[row])
            for destination in placement.experts[expert].mesh.ranks(ofReplica: replicas[row]) {
                counts[destination * expertCount + expert] += 1
            }
        }
        var next = [Int](repeating: 0, count: counts.count)
        var total = 0
        for slot in counts.indices {
            next[slot] = total
            total += Int(counts[slot])
        }
        sendOffsets = (0..<worldSize).map { next[$0 * expertCount] } + [total]
        sendCounts = zip(sendOffsets, sendOffsets.dropFirst()).map { $1 - $0 }
        var sentRows = [Int32](repeating: 0, count: total)
        var sentTokens = [Int32](repeating: 0, count: total)
        for row in 0..<routing.count {
            let expert = Int(routing.experts[row])
            for destination in placement.experts[expert].mesh.ranks(ofReplica: replicas[row]) {
                let slot = destination * expertCount + expert
                sentRows[next[slot]] = Int32(row)
                sentTokens[next[slot]] = routing.tokens[row]
                next[slot] += 1
            }
        }
        self.sentRows = sentRows
        self.sentTokens = sentTokens

        let arriving = try exchangeCounts(counts)
        receiveCounts = (0..<worldSize).map { source in
            arriving[source * expertCount..<(source + 1) * expertCount].reduce(0) { $0 + Int($1) }
        }
        var blocks = [Block]()
        var expertRows = [Range<Int>]()
        var offsets = [Int](repeating: 0, count: worldSize)
        var place = 0
        for expert in 0..<expertCount {
            let start = place
            for source in 0..<worldSize {
                let count = Int(arriving[source * expertCount + expert])
                if count > 0 {
                    blocks.append(Block(source: source, offset: offsets[source], rows: place..<place + count))
                }
                offsets[source] += count
                place += count
            }
            expertRows.append(start..<place)
        }
        self.blocks = blocks
        self.expertRows = expertRows
    }

    /// M, rows to send to all ranks.
    var sentCount: Int { sentRows.count }
    /// Rows that arrive from all ranks.
    var receivedCount: Int { expertRows.last?.upperBound ?? 0 }
    /// The rows to send that stay on this rank.
    var ownRows: Range<Int> { sendOffsets[rank]..<sendOffsets[rank + 1] }
}
