import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import TestSupport
import Testing

@Suite(.serialized) struct ProgramTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func serve(_ database: String = "moe.db", listen: String = "127.0.0.1:0") -> [String] {
        ["serve", "--database", folder.path(database), "--listen", listen]
    }

    /// As an operator does it.
    @Test func aBackupIsRestored() throws {
        let config = folder.path("moe.yaml")
        try "backup_directory: \(folder.url.path)\n".write(toFile: config, atomically: true, encoding: .utf8)
        let program = try CoordinatorProgram(serve() + ["--config", config])
        try Self.register(port: program.port)
        #expect(try Self.report(rank: 0, from: 1, count: 3, port: program.port) == [1, 2, 3])
        let backup = try PlainClient(port: program.port).ask("back_up_database", ["file": "one", "dry_run": false])
        #expect(backup["bytes"] != nil)
        #expect(program.end(SIGTERM).status == 0)

        let restore = ["restore", folder.path("one"), "--database"]
        let refusal = try CoordinatorProgram.run(restore + [folder.path("moe.db")])
        #expect(refusal.status == 1)
        #expect(refusal.output.contains("move the old database away"))
        let restored = try CoordinatorProgram.run(restore + [folder.path("new.db")])
        #expect(restored.status == 0)
        #expect(restored.output.contains("new.db has 1 run "), "\(restored.output)")
        let again = try CoordinatorProgram(serve("new.db"))
        #expect(try Self.report(rank: 0, from: 3, count: 2, port: again.port) == [3, 4])
        #expect(again.end(SIGTERM).status == 0)
    }

    static func register(port: UInt16) throws {
        let client = try PlainClient(port: port)
        _ = try client.ask(
            "register_run",
            [
                "run": "demo", "registration": "one", "world_size": 3, "nodes": [0, 0, 0],
                "model": ["hidden_size": 8, "layers": [[16, 16]]], "allocator": "replicated", "host": "node-1",
                "process_id": 42, "configuration": [:],
            ])
        for rank in 0..<3 {
            _ = try client.ask(
                "register_worker",
                ["run": "demo", "incarnation": 1, "rank": .integer(rank), "host": "node-1", "process_id": 42])
        }
    }

    /// Reports until the connection ends, or `count` times.
    /// - Returns: the sequence numbers acknowledged.
    private static func report(rank: Int, from first: Int, count: Int = .max, port: UInt16) throws -> Set<Int> {
        var acknowledged = Set<Int>()
        guard let client = try? PlainClient(port: port) else { return [] }
        for sequence in sequence(first: first, next: { $0 + 1 }) where acknowledged.count < count {
            guard let answer = try? client.ask("report", report(rank: rank, sequence: sequence)) else { break }
            guard answer["type"] == "acknowledged" else { throw CoordinatorProgram.DidNotStart(output: "\(answer)") }
            acknowledged.insert(sequence)
            if acknowledged.count >= count { break }
        }
        return acknowledged
    }

    /// The fields of a report.
    static func report(rank: Int, sequence: Int) -> [String: JSONValue] {
        let sample: JSONValue = [
            "first_step": .integer(sequence), "step_count": 1, "plan_revision": 1, "step_seconds": 0.5,
            "phase_seconds": ["experts": 0.25], "bytes_sent": 1, "tokens": 1, "resident_bytes": 1,
        ]
        return [
            "run": "demo", "incarnation": 1, "rank": .integer(rank), "sequence": .integer(sequence), "sample": sample,
        ]
    }

    @Test func signalsEndItCleanly() throws {
        for signal in [SIGTERM, SIGINT] {
            let program = try CoordinatorProgram(serve())
            // A client that stays connected does not hold it up.
            let client = try PlainClient(port: program.port)
            #expect(try client.ask("list_runs")["type"] == "runs")
            let end = program.end(signal)
            #expect(end.reason == .exit)
            #expect(end.status == 0)
            #expect(!FileManager.default.fileExists(atPath: folder.path("moe.db-wal")))
        }
    }

    @Test func whatKeepsItFromStartingIsOneLine() throws {
        let program = try CoordinatorProgram(serve())
        try Data("This is a letter, not a database.".utf8).write(to: folder.url.appending(path: "letter"))
        let keys = try KeyFolder()
        let exposed = try keys.file("exposed")
        chmod(exposed, 0o640)
        let cases: [(arguments: [String], status: Int32, text: String)] = [
            (serve("other.db", listen: "0.0.0.0:0") + ["--key-file", exposed], 1, "chmod 600"),
            (serve("other.db") + ["--key-file", folder.path("letter")], 1, "may be read or written by others"),
            (serve("other.db") + ["--key-file", folder.path("nothing")], 1, "cannot be read"),
            (serve("other.db") + ["--operator-key-file", try keys.file("a")], 64, "needs --key-file"),
            (
                serve("other.db") + ["--key-file", try keys.file("a"), "--operator-key-file", try keys.file("a")], 1,
                "the same key"
            ),
            (serve(), 1, "in use by another process"),
            (serve("other.db", listen: "127.0.0.1:\(program.port)"), 1, "the port is in use"),
            (serve("other.db", listen: "0.0.0.0:0"), 1, "not authenticated"),
            (serve("other.db", listen: "[::]:0"), 1, "not authenticated"),
            (serve("other.db", listen: "no-such-host.invalid:0"), 1, "cannot be resolved"),
            (serve("letter"), 1, "is not a database"),
            (serve("no/such/folder/moe.db"), 1, "cannot be written"),
            (serve("other.db", listen: "7700"), 64, "HOST:PORT"),
            (["serve", "--nonsense"], 64, "nonsense"),
        ]
        for (arguments, status, text) in cases {
            let result = try CoordinatorProgram.run(arguments)
            #expect(result.status == status, "\(arguments): \(result.output)")
            #expect(result.output.contains(text), "\(arguments): \(result.output)")
            if status == 1 { #expect(result.output.split(separator: "\n").count == 1, "\(result.output)") }
        }
        #expect(program.end(SIGTERM).status == 0)
    }

    @Test func memoryIsFlatOverThousandsOfReports() async throws {
        let program = try CoordinatorProgram(serve())
        let port = program.port
        try await blocking {
            try Self.register(port: port)
            _ = try Self.report(rank: 0, from: 1, count: 2_000, port: port)
        }
        let before = try program.residentBytes
        try await blocking { _ = try Self.report(rank: 0, from: 2_001, count: 4_000, port: port) }
        let growth = try program.residentBytes - before
        print("resident memory after 2,000 reports: \(before) bytes; \(growth) more after 6,000")
        #expect(growth < 4 << 20)
        #expect(program.end(SIGTERM).status == 0)
    }

    /// An operator may wait for a program that takes its time; the end of the coordinator does not.
    @Test func theEndWaitsForNoProgram() async throws {
        let started = folder.path("started")
        let configuration = """
            planning: {enabled: false}
            allocators:
              slow: {command: [/bin/sh, -c, "touch '\(started)'; sleep 1000"]}
            """
        try configuration.write(toFile: folder.path("moe.yaml"), atomically: true, encoding: .utf8)
        let program = try CoordinatorProgram(serve() + ["--config", folder.path("moe.yaml")])
        let client = try await ControlClient.connect(host: "127.0.0.1", port: program.port)
        _ = try await client.send(Samples.registerRun(allocator: "exec:slow"))
        _ = try await client.send(Samples.registerWorker())
        _ = try await client.send(Samples.report())
        let answer = Task { try await client.send(ProposePlacement(replan: true, who: "ada", why: "a test")) }
        try await eventually("the policy's program starts") { () async in
            FileManager.default.fileExists(atPath: started)
        }
        let begin = ContinuousClock.now
        let end = program.end(SIGTERM)
        #expect(end.status == 0)
        #expect(ContinuousClock.now - begin < .seconds(15))
        let error = await #expect(throws: ControlError.self) { try await answer.value }
        #expect(error?.code == .overloaded, "\(String(describing: error))")
    }
}
