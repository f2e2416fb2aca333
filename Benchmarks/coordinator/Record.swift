import Foundation

/// All that was measured.
struct Record: Encodable {
    let clients: Int
    let inFlight: Int
    let reportBytes: Int
    let seconds: Double
    var rounds: [Summary] = []
    var soak: [SoakPart] = []

    init(clients: Int, inFlight: Int, reportBytes: Int, seconds: Double) {
        self.clients = clients
        self.inFlight = inFlight
        self.reportBytes = reportBytes
        self.seconds = seconds
    }

    /// The median of a server's rounds.
    func rate(_ server: String) -> Double {
        let rates = rounds.filter { $0.server == server }.map(\.rate).sorted()
        return rates.isEmpty ? 0 : rates[rates.count / 2]
    }

    var servers: [String] { Set(rounds.map(\.server)).sorted() }

    /// A server's median rate over the bare echo's.
    func ratio(_ server: String) -> Double { rate(server) / rate("echo") }

    func data() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try encoder.encode(self)
    }
}

/// What a coordinator was like at some time under lasting load.
struct SoakPart: Encodable {
    let seconds: Double
    let rate: Double
    let p99: Double
    let residentBytes: Int
    let databaseBytes: Int

    var row: String {
        "| \(Int(seconds)) | \(Int(rate)) | \(p99) | \(residentBytes >> 20) | \(databaseBytes >> 20) |"
    }
}
