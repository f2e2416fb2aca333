import Foundation

/// Loads of a training run: JSON lines `{"iteration": 1, "loads": [layer][expert]}`.
struct Trace {
    /// [line][layer][expert]
    let loads: [[[Double]]]
    let iterations: [Int]

    init(path: String) throws {
        struct Line: Decodable {
            let iteration: Int
            let loads: [[Double]]
        }
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        loads = lines.map(\.loads)
        iterations = lines.map(\.iteration)
    }
}

/// Mean and 95th percentile (the value with 5 % of all above it).
struct Spread: Encodable {
    let mean: Double
    let p95: Double

    init(_ values: [Double]) {
        let sorted = values.sorted()
        mean = values.reduce(0, +) / Double(max(1, values.count))
        p95 = sorted.isEmpty ? 0 : sorted[Int(0.95 * Double(sorted.count - 1))]
    }
}
