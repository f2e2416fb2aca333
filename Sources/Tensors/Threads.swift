import Dispatch
import Synchronization

/// How many threads a rank computes with: row kernels and matrix products alike. One for the whole process.
///
/// Row kernels and attention give the same bits whatever the number; a large matrix product is cut into blocks, at whose
/// edges OpenBLAS may round differently.
public enum Threads {
    private static let configured = Atomic<Int>(1)

    /// Threads a rank; 1 unless `configure` said otherwise.
    public static var count: Int { configured.load(ordering: .relaxed) }

    /// The largest number that can be configured; more than the threads of any node.
    public static let limit = 4_096

    /// Sets the number of threads, 1 ... `limit`.
    public static func configure(_ count: Int) {
        precondition(count >= 1 && count <= limit, "\(count) threads")
        configured.store(count, ordering: .relaxed)
    }

    /// Entries below which a row kernel stays on the caller's thread: waking others costs some microseconds.
    static let grain = 32_768

    /// Calls `body` with ranges that together are `0..<count`, on several threads when there is work for them.
    /// - Parameters:
    ///   - cost: entries that one item stands for.
    ///   - multiple: ranges begin at multiples of it.
    @inline(never)
    static func split(_ count: Int, cost: Int = 1, multiple: Int = 1, _ body: (Range<Int>) -> Void) {
        if count <= 0 { return }
        let units = (count + multiple - 1) / multiple
        let pieces = min(Self.count, units, count * max(cost, 1) / grain)
        if pieces <= 1 { return body(0..<count) }
        withoutActuallyEscaping(body) { body in
            // The threads share what `body` captured, memory of tensors, of which each writes its own range; the call
            // returns when all are done.
            nonisolated(unsafe) let body = body
            DispatchQueue.concurrentPerform(iterations: pieces) { piece in
                let start = units * piece / pieces * multiple
                let end = min(units * (piece + 1) / pieces * multiple, count)
                body(start..<end)
            }
        }
    }

    /// Calls `body` for runs of entries that together are a matrix: with (row, first column, entries). Gapless matrices are
    /// treated as one long row.
    @inline(never)
    static func splitEntries(
        of shape: Tensor, contiguous: Bool, _ body: (_ row: Int, _ column: Int, _ count: Int) -> Void
    ) {
        if contiguous {
            split(shape.count, multiple: 16) { body(0, $0.lowerBound, $0.count) }
        } else {
            let columns = shape.columns
            split(shape.rows, cost: columns) { for row in $0 { body(row, 0, columns) } }
        }
    }
}
