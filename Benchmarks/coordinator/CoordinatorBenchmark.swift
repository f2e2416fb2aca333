import ArgumentParser
import ControlProtocol
import CoordinatorCore
import CoordinatorService
import Foundation

// Measures a coordinator that many clients report to, beside a server that only sends back what it gets.
//
//     coordinator-benchmark [--clients N] [--in-flight N] [--seconds S] [--rounds N] [--soak-seconds S] [--json FILE]

@main
struct CoordinatorBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator-benchmark", subcommands: [Measure.self, Echo.self], defaultSubcommand: Measure.self)
}

/// The bare server, in a process of its own as the coordinator is.
struct Echo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(shouldDisplay: false)

    @Option var keyFile: String?

    func run() async throws {
        FileDescriptorLimit.raise()
        try await EchoServer.run(keys: AcceptedKeys(files: keyFile.map { [$0] } ?? []))
    }
}

struct Measure: AsyncParsableCommand {
    @Option(help: "Connections, each of a rank of its own.")
    var clients = 2_000

    @Option(help: "Ranks of a run.")
    var ranks = 250

    @Option(help: "Reports that wait for their answers, over all connections.")
    var inFlight = 512

    @Option(help: "Reports of a frame, where they go together.")
    var together = 32

    @Option(help: "Seconds that a measurement takes.")
    var seconds = 10.0

    @Option(help: "Measurements of each server, by turns.")
    var rounds = 3

    @Option(
        help: "Seconds that the coordinator is under load after that; its memory is printed every twentieth of them.")
    var soakSeconds = 0.0

    @Flag(help: "The load after that over encrypted connections.")
    var soakNoise = false

    @Option(help: "Bytes of a report's frame, about.")
    var bytes = 1_000

    @Option(help: "Where databases are made. A disk: what is durable in memory costs nothing.")
    var directory = FileManager.default.currentDirectoryPath

    @Option(help: "A file for the figures in JSON.")
    var json: String?

    func run() async throws {
        FileDescriptorLimit.raise()
        let load = Load(clients: clients, ranks: ranks, inFlight: inFlight, reportBytes: bytes)
        var record = Record(clients: clients, inFlight: inFlight, reportBytes: load.frameBytes, seconds: seconds)
        if rounds > 0 {
            write("\(clients) clients, \(inFlight) reports in flight, \(load.frameBytes) bytes a report")
            write(
                "| server | per second | p50, ms | p99, ms | longest, ms | resident, MiB |\n|---|---|---|---|---|---|")
            for _ in 0..<rounds {
                for isEncrypted in [false, true] { record.rounds += try await round(load, isEncrypted: isEncrypted) }
            }
            write("\n| server | of the bare echo's median rate |\n|---|---|")
            for server in record.servers { write("| \(server) | \((record.ratio(server) * 100).rounded() / 100) |") }
            write("\nevery acknowledged report was in the database")
        }
        if soakSeconds > 0 { record.soak = try await soak(load) }
        if let json { try record.data().write(to: URL(fileURLWithPath: json)) }
    }

    /// The bare server and the coordinator, one after the other.
    private func round(_ load: Load, isEncrypted: Bool) async throws -> [Summary] {
        let suffix = isEncrypted ? ", Noise" : ""
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let keyFile = try isEncrypted ? self.keyFile(folder) : nil

        let echo = try ServerProcess.echo(keyFile: keyFile)
        let bare = try load.connect(to: echo).measure(seconds: seconds)
            .summary("echo" + suffix, residentBytes: echo.peakBytes)
        write(bare.row)
        echo.kill()

        var summaries = [bare]
        for reports in [1, together] {
            let own = folder.appending(path: "\(reports)")
            try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
            let coordinator = try ServerProcess.coordinator(own, keyFile: keyFile)
            let connections = try load.connect(to: coordinator, reports: reports)
            try connections.register()
            let name = "coordinator" + (reports > 1 ? ", \(reports) reports a frame" : "") + suffix
            let figures = try connections.measure(seconds: seconds)
                .summary(name, residentBytes: coordinator.peakBytes)
            write(figures.row)
            summaries.append(figures)
            try await proveDurable(connections, coordinator, own)
        }
        return summaries
    }

    private func keyFile(_ folder: URL) throws -> String {
        let file = folder.appending(path: "key").path
        try ControlKey.generate(file: file)
        return file
    }

    /// What was acknowledged is there after the process was killed.
    private func proveDurable(
        _ connections: Connections, _ coordinator: ServerProcess, _ folder: URL
    ) async throws {
        coordinator.kill()
        let store = try CoordinatorStore(path: folder.appending(path: "moe.db").path)
        for (run, sequences) in connections.acknowledgedSequences {
            let workers = try await store.state(of: run)?.workers ?? [:]
            for (rank, sequence) in sequences.enumerated() {
                guard workers[rank]?.reports.highest ?? 0 >= sequence else {
                    throw BenchmarkError("report \(sequence) of rank \(rank) of \(run) was acknowledged, but is gone")
                }
            }
        }
        try store.close()
    }

    private func soak(_ load: Load) async throws -> [SoakPart] {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let coordinator = try ServerProcess.coordinator(folder, keyFile: soakNoise ? keyFile(folder) : nil)
        let connections = try load.connect(to: coordinator, reports: together)
        try connections.register()
        write("\n| seconds | per second | p99, ms | resident, MiB | database, MiB |\n|---|---|---|---|---|")
        var parts = [SoakPart]()
        for part in 1...20 {
            let figures = try connections.measure(seconds: soakSeconds / 20, warmUp: 0)
            let database = ["moe.db", "moe.db-wal"].reduce(0) { sum, name in
                let path = folder.appending(path: name).path
                return sum + ((try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0)
            }
            parts.append(
                SoakPart(
                    seconds: soakSeconds * Double(part) / 20, rate: figures.rate.rounded(),
                    p99: figures.milliseconds(0.99),
                    residentBytes: coordinator.residentBytes, databaseBytes: database))
            write(parts[part - 1].row)
        }
        let growth = (parts[10...].map(\.residentBytes).max() ?? 0) - (parts[..<10].map(\.residentBytes).max() ?? 0)
        write(
            "resident memory of the second half: \(growth / 1_024) kB above the first half's; peak "
                + "\(coordinator.peakBytes >> 20) MB")
        try await proveDurable(connections, coordinator, folder)
        return parts
    }

    private func scratch() throws -> URL {
        let folder = URL(fileURLWithPath: directory).appending(path: "coordinator-benchmark-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
    static func system(_ call: String) -> BenchmarkError {
        BenchmarkError("\(call): \(String(cString: strerror(errno)))")
    }
}

/// A line at once, also into a pipe.
func write(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
