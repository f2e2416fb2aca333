import ControlTestSupport
import Foundation
import Testing

/// What the program writes to standard error in JSON.
struct LogTests {
    /// Every line of a coordinator that is asked, refused, planned for and attacked, at the most talkative level, is an object;
    /// none has what clients sent or what files with secrets hold.
    @Test func everyLineIsJSONAndTellsNoSecrets() async throws {
        let folder = try TemporaryFolder()
        let secrets = ["configuration-value-4711", "configuration-key-4712", "token-4713-0123456789", "payload-4714"]
        let token = folder.path("token")
        #expect(
            FileManager.default.createFile(
                atPath: token, contents: Data(secrets[2].utf8), attributes: [.posixPermissions: 0o600]))
        // A program that cannot be started: planning has something to complain about.
        try Data("allocators:\n  broken:\n    command: [/no/such/program, \(secrets[0])]\n".utf8).write(
            to: folder.url.appending(path: "moe.yaml"))
        let program = try CoordinatorProgram([
            "serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
            "--http-token-file", token, "--config", folder.path("moe.yaml"), "--log-format", "json", "--log-level",
            "trace",
        ])
        let (port, httpPort) = (program.port, program.httpPort)
        try await blocking {
            let client = try PlainClient(port: port)
            let registered = try client.ask(
                "register_run",
                [
                    "run": "demo", "registration": "one", "world_size": 2, "nodes": [0, 0],
                    "model": ["hidden_size": 8, "layers": [[16, 16]]], "allocator": "exec:broken", "host": "node-1",
                    "process_id": 42, "configuration": .object([secrets[1]: .string(secrets[0])]), "interval": 1,
                ])
            #expect(registered["type"] == "run_registered", "\(registered)")
            for rank in 0..<2 {
                _ = try client.ask(
                    "register_worker",
                    ["run": "demo", "incarnation": 1, "rank": .integer(rank), "host": "node-1", "process_id": 42])
            }
            for sequence in 1...5 {
                for rank in 0..<2 {
                    var sample: [String: JSONValue] = [
                        "first_step": .integer(sequence), "step_count": 1, "plan_revision": 1, "step_seconds": 0.5,
                        "phase_seconds": .object([secrets[3]: 0.25]), "bytes_sent": 1, "tokens": 1,
                        "resident_bytes": 1,
                    ]
                    if rank == 0 { sample["expert_loads"] = [[10, 1]] }
                    let answer = try client.ask(
                        "report",
                        [
                            "run": "demo", "incarnation": 1, "rank": .integer(rank), "sequence": .integer(sequence),
                            "sample": .object(sample),
                        ])
                    #expect(answer["type"] == "acknowledged", "\(answer)")
                }
            }
            _ = try client.ask(secrets[3], ["field": .string(secrets[3])])
            try client.send(PlainClient.frame(Data(secrets[3].utf8)))
            _ = try client.receive()
            _ = try HTTPQuestion("/\(secrets[3])", port: httpPort, headers: ["Authorization: Bearer \(secrets[2])"])
            _ = try HTTPQuestion("/readyz?verbose", port: httpPort, headers: ["Authorization: Bearer \(secrets[3])"])
            try PlainClient(port: port).send(Data([255, 255, 255, 255]))
        }
        #expect(program.end(SIGTERM).status == 0)
        let lines = program.restOfOutput().split(separator: "\n")
        #expect(lines.count >= 3)
        for line in lines {
            let record = try JSONValue(Data(line.utf8))
            for key in ["time", "level", "logger", "message"] { #expect(record[key]?.text != nil, "\(line)") }
            for secret in secrets { #expect(!line.contains(secret), "\(line)") }
        }
    }
}
