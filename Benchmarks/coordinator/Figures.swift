/// How many frames were answered, and how long each took.
struct Figures {
    /// Of a class of durations.
    private static let resolution = 1e-5
    private var counts = [Int](repeating: 0, count: 1_000_001)
    private var total = 0
    /// Of a frame.
    var reports = 1
    var seconds = 0.0

    mutating func record(_ duration: Double) {
        counts[min(counts.count - 1, max(0, Int(duration / Self.resolution)))] += 1
        total += 1
    }

    /// Reports a second.
    var rate: Double { Double(total * reports) / seconds }

    /// The duration that so much of the requests did not exceed.
    func milliseconds(_ part: Double) -> Double {
        var rest = Int((Double(total) * part).rounded(.up))
        for (index, count) in counts.enumerated() {
            rest -= count
            if rest <= 0 { return (Double(index + 1) * Self.resolution * 1e4).rounded() / 10 }
        }
        return 0
    }

    func summary(_ server: String, residentBytes: Int) -> Summary {
        Summary(
            server: server, rate: rate.rounded(), p50: milliseconds(0.5), p99: milliseconds(0.99),
            longest: milliseconds(1), residentBytes: residentBytes)
    }
}

/// A measurement, in milliseconds but for the rate.
struct Summary: Encodable {
    let server: String
    let rate: Double
    let p50: Double
    let p99: Double
    let longest: Double
    let residentBytes: Int

    var row: String {
        "| \(server) | \(Int(rate)) | \(p50) | \(p99) | \(longest) | \(residentBytes >> 20) |"
    }
}
