import Foundation

/// What was measured of one kind of migration; seconds are the slowest rank's.
struct MigrationFigures {
    let name: String
    /// Bytes that all ranks send.
    let bytes: Int
    /// By round: the two beside each other, and the verification by checksum, which is not in the migration's.
    let exchangeSeconds: [Double]
    let transferSeconds: [Double]
    let checksumSeconds: [Double]
    /// The first migration of all, into memory that the system has yet to hand out.
    let firstSeconds: Double

    static let header = """
        | migration | MB | MPI_Alltoallv, ms | migration, ms | ratio, median (range) | checksums, ms | first, ms |
        |---|---|---|---|---|---|---|
        """

    var row: String {
        let ratios = zip(transferSeconds, exchangeSeconds).map { $0 / $1 }.sorted()
        let ratio = String(format: "%.2f (%.2f to %.2f)", Self.median(ratios), ratios[0], ratios[ratios.count - 1])
        let cells = [
            name, String(format: "%.0f", Double(bytes) / 1e6), Self.milliseconds(exchangeSeconds),
            Self.milliseconds(transferSeconds), ratio, Self.milliseconds(checksumSeconds),
            Self.milliseconds([firstSeconds]),
        ]
        return "| " + cells.joined(separator: " | ") + " |"
    }

    private static func milliseconds(_ seconds: [Double]) -> String { String(format: "%.1f", median(seconds) * 1e3) }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }
}

/// Why the benchmark could not run.
struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
}
