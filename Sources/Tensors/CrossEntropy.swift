import Foundation

/// Cross-entropy of softmax(logits) against one right class a row: −log softmax(logits)[target].
public enum CrossEntropy {
    /// Replaces the logits by dL/dlogits · `gradientScale` = (softmax(logits) − onehot(target)) · `gradientScale`.
    /// - Parameters:
    ///   - logits: (T, V)
    ///   - targets: T classes, 0 ..< V.
    /// - Returns: the sum of the rows' losses, in nats.
    public static func forwardBackward(logits: Tensor, targets: [Int32], gradientScale: Float) -> Double {
        sumOfLosses(logits: logits, targets: targets) { row, target, columns in
            let targetLogit = row[target]
            let (largest, sum) = Softmax.exponentials(of: row, into: row, count: columns)
            writeScaled(row, by: gradientScale / sum, into: row, count: columns)
            row[target] -= gradientScale
            return log(Double(sum)) + (Double(largest) - Double(targetLogit))
        }
    }

    /// Leaves the logits as they are.
    /// - Returns: the sum of the rows' losses, in nats.
    public static func forward(logits: Tensor, targets: [Int32]) -> Double {
        sumOfLosses(logits: logits, targets: targets) { row, target, columns in
            let (largest, sum) = sumOfExponentials(row, count: columns)
            return log(Double(sum)) + (Double(largest) - Double(row[target]))
        }
    }

    /// Adds the losses of the rows in order, whatever thread found them.
    @inline(always)
    private static func sumOfLosses(
        logits: Tensor, targets: [Int32], _ loss: (_ row: MutableEntries, _ target: Int, _ columns: Int) -> Double
    ) -> Double {
        precondition(targets.count == logits.rows, "one target a row")
        precondition(targets.allSatisfy { $0 >= 0 && $0 < logits.columns }, "a target is none of the classes")
        let (matrix, columns) = (logits.matrix, logits.columns)
        let losses = [Double](unsafeUninitializedCapacity: logits.rows) { buffer, initialized in
            let losses = buffer
            Threads.split(logits.rows, cost: 2 * columns) { rows in
                for row in rows {
                    losses.initializeElement(at: row, to: loss(matrix.row(row), Int(targets[row]), columns))
                }
            }
            initialized = logits.rows
        }
        return losses.reduce(0, +)
    }

    /// max x and Σ e^(x − max x).
    @inline(always)
    private static func sumOfExponentials(_ x: Entries, count: Int) -> (largest: Float, sum: Float) {
        let shift = Softmax.largest(x, count: count)
        var sum = Lanes.zero
        var i = 0
        while i &+ 16 <= count {
            sum += exponential(Lanes(x + i) - shift)
            i &+= 16
        }
        let rest = count &- i
        if rest > 0 { sum += exponential(Lanes(x + i, first: rest, fill: -.infinity) - shift) }
        return (shift, sum.total)
    }
}
