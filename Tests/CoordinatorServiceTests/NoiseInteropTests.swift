import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// Encrypted connections with the implementation of Noise in the Python package noiseprotocol at the other end.
struct NoiseInteropTests {
    private let keys: KeyFolder
    private let seed = TestRuns.seed("the Python peer")

    init() throws {
        keys = try KeyFolder()
        // Nothing to do after `make test`, which has made it.
        let setUp = try Self.run("/bin/sh", [Repository.root.appending(path: "deploy/python.sh").path])
        try #require(setUp.status == 0, "\(setUp.output)")
    }

    private static let peer = Repository.root.appending(path: "Tests/CoordinatorServiceTests/noise_peer.py").path
    private static let python = Repository.root.appending(path: ".venv/bin/python").path

    private static func start(_ program: String, _ arguments: [String], input: Data = Data()) throws -> (Process, Pipe)
    {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let (output, standardInput) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = output
        process.standardInput = standardInput
        try process.run()
        Thread.detachNewThread {
            try? standardInput.fileHandleForWriting.write(contentsOf: input)
            try? standardInput.fileHandleForWriting.close()
        }
        return (process, output)
    }

    private static func run(
        _ program: String, _ arguments: [String], input: Data = Data()
    ) throws -> (status: Int32, output: String) {
        let (process, output) = try start(program, arguments, input: input)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    @Test func pythonAsksTheCoordinator() async throws {
        let file = try keys.file("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            let messages: [(any ControlRequest, padding: Int)] = [
                (ListRuns(), 0), (Samples.registerRun("demo"), 65_519), (ShowPlacement(run: "demo"), 300_000),
                (ShowRun(run: "nobody"), 1), (ListRuns(), 65_000),
            ]
            let lines = try messages.enumerated().map { id, message in
                var request = try JSONValue(MessageCodec.frame(message.0, requestID: id).dropFirst(Frame.headerBytes))
                // Receivers ignore fields that they do not know.
                request["padding"] = .string(String(repeating: "x", count: message.padding))
                return try request.data + Data("\n".utf8)
            }
            let (port, seed) = ("\(coordinator.port)", "\(seed)")
            let result = try await blocking {
                try Self.run(
                    Self.python, [Self.peer, "client", port, file, seed], input: lines.reduce(Data(), +))
            }
            #expect(result.status == 0, "\(result.output)")
            let answers = try result.output.split(separator: "\n").map { try JSONValue(Data($0.utf8)) }
            #expect(answers.map { $0["type"]?.text } == ["runs", "run_registered", "placement", "error", "runs"])
            #expect(answers.map { $0["request_id"] } == (0..<5).map { .integer($0) })
            #expect(try await coordinator.client(key: keys.key("key")).send(ListRuns()).runs.map(\.run) == ["demo"])
        }
    }

    @Test func pythonWithAnotherKeyIsRefused() async throws {
        let file = try keys.file("other")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            let (port, seed) = ("\(coordinator.port)", "\(seed)")
            let result = try await blocking { try Self.run(Self.python, [Self.peer, "client", port, file, seed]) }
            #expect(result.status == 1)
        }
    }

    @Test func theClientAsksPython() async throws {
        let key = try keys.key("key")
        let (server, output) = try Self.start(Self.python, [Self.peer, "server", try keys.file("key"), "\(seed)"])
        let port = try await Self.port(output)
        let client = try await ControlClient.connect(host: "127.0.0.1", port: port, key: key)
        try await withThrowingTaskGroup { group in
            for _ in 0..<20 { group.addTask { try await client.send(ListRuns()).runs } }
            for try await runs in group { #expect(runs == []) }
        }
        // In several records.
        let large = Samples.registerRun(
            model: ExpertModel(hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 16, count: 4_096), count: 16))
        )
        #expect(try MessageCodec.frame(large, requestID: 0).count > 3 * 65_519)
        let error = await #expect(throws: ControlError.self) { try await client.send(large) }
        #expect(error?.message.contains("\"runs\" instead of \"run_registered\"") == true, "\(error?.message ?? "")")
        client.close()
        server.waitUntilExit()
        #expect(server.terminationStatus == 0)
    }

    @Test func pythonWithAnotherKeyIsNotTrusted() async throws {
        let (server, output) = try Self.start(Self.python, [Self.peer, "server", try keys.file("other"), "\(seed)"])
        let port = try await Self.port(output)
        let key = try keys.key("key")
        let error = await #expect(throws: ControlError.self) {
            _ = try await ControlClient.connect(host: "127.0.0.1", port: port, key: key)
        }
        #expect(error?.code == .connectionClosed)
        server.waitUntilExit()
        #expect(server.terminationStatus == 1)
    }

    /// The first line of a server's output.
    private static func port(_ output: Pipe) async throws -> UInt16 {
        try await blocking {
            var line = ""
            while !line.hasSuffix("\n") {
                let data = output.fileHandleForReading.availableData
                guard !data.isEmpty else { break }
                line += String(decoding: data, as: UTF8.self)
            }
            return try #require(UInt16(line.trimmingCharacters(in: .whitespacesAndNewlines)), "\(line)")
        }
    }
}
