/// How values are distributed, in buckets of equal width from the least to the largest.
package struct Histogram {
    /// What TensorBoard shows at most.
    private static let buckets = 30

    private let minimum: Double
    private let maximum: Double
    private let count: Int
    private let sum: Double
    private let sumOfSquares: Double
    /// Upper ends of the buckets, and what is in each.
    private let limits: [Double]
    private let counts: [Double]

    /// - Returns: nil when there is no value, or one that is not finite.
    package init?(_ values: [Double]) {
        guard let least = values.min(), let largest = values.max(), values.allSatisfy(\.isFinite) else { return nil }
        let buckets = least == largest ? 1 : Self.buckets
        let width = (largest - least) / Double(buckets)
        var counts = [Double](repeating: 0, count: buckets)
        for value in values {
            counts[width > 0 ? min(buckets - 1, Int((value - least) / width)) : 0] += 1
        }
        minimum = least
        maximum = largest
        count = values.count
        sum = values.reduce(0, +)
        sumOfSquares = values.reduce(0) { $0 + $1 * $1 }
        limits = (1..<buckets).map { least + Double($0) * width } + [largest]
        self.counts = counts
    }

    /// `HistogramProto` of tensorboard/compat/proto/histogram.proto.
    var message: ProtobufMessage {
        var message = ProtobufMessage()
        message.add(1, minimum)
        message.add(2, maximum)
        message.add(3, Double(count))
        message.add(4, sum)
        message.add(5, sumOfSquares)
        message.add(6, limits)
        message.add(7, counts)
        return message
    }
}
