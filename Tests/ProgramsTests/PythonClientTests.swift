import ControlTestSupport
import Foundation
import Testing

/// Jobs in Python that report to the coordinator and follow its plans, over `deploy/python`.
@Suite(.serialized) struct PythonClientTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "python-\(UUID().uuidString)")
    private static let standard = "python3"
    private static let withTorch = Repository.root.appending(path: ".venv/bin/python").path

    init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }

    private func python(_ interpreter: String, _ arguments: [String]) throws -> RunningProgram {
        try RunningProgram(
            command: [interpreter] + arguments,
            variables: ["PYTHONPATH": Repository.root.appending(path: "deploy/python").path])
    }

    private func path(_ name: String) -> String { Repository.root.appending(path: name).path }

    private func key(_ name: String) throws -> String {
        let path = folder.appending(path: name).path
        #expect(try CtlProgram(["key", "generate", path]).status == 0)
        return path
    }

    /// A coordinator, and its address.
    private func coordinator(_ options: [String] = []) throws -> (program: RunningProgram, address: String) {
        let program = try RunningProgram(
            "moe-coordinator",
            ["serve", "--database", folder.appending(path: "moe.db").path, "--listen", "127.0.0.1:0"] + options)
        let address = try #require(program.readLine(after: "moe-coordinator: listening on "), "\(program.text)")
        return (program, address)
    }

    private struct History: Decodable {
        struct Plan: Decodable {
            var revision: Int
            var state: String
        }
        var plans: [Plan]
    }

    private struct Run: Decodable {
        struct Summary: Decodable {
            var state: String
            var step: Int?
        }
        var summary: Summary
    }

    private func history(_ run: String, _ arguments: [String]) throws -> History {
        let history = try CtlProgram(["placement", "history", "--run", run, "-o", "json"] + arguments)
        #expect(history.status == 0, "\(history.output)")
        return try JSONDecoder().decode(History.self, from: Data(history.output.utf8))
    }

    @Test(arguments: [false, true]) func aJobReportsAndFollowsAPlan(withKey: Bool) throws {
        let keys = withKey ? [try key("key")] : []
        let (coordinator, address) = try coordinator(keys.flatMap { ["--key-file", $0] })
        defer { coordinator.terminate() }
        let job = try python(Self.standard, [path("Tests/python/job.py"), address] + keys)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        // Whole experts on either rank, and then the busiest ones on both.
        #expect(job.text.hasPrefix("plan 1: [4, 4]\nplan 2: ") && !job.text.contains("plan 2: [4, 4]"), "\(job.text)")
        let access = ["--coordinator", address] + keys.flatMap { ["--key-file", $0] }
        #expect(try history("python", access).plans.map(\.state) == ["active", "superseded"])
        let runs = try CtlProgram(["run", "list"] + access).output
        #expect(runs.contains("completed") && runs.contains("2.0000"), "\(runs)")
        // A hundred of the 2,100 pairs of a step.
        let log = try CtlProgram(["watch", "python"] + access).output
        #expect(log.contains("  dropped 4.8%  plan 1\n"), "\(log)")
    }

    @Test func whatKeepsItFromTheCoordinatorIsSaid() throws {
        let (coordinator, address) = try coordinator(["--key-file", try key("key")])
        let job = path("Tests/python/job.py")
        let open = folder.appending(path: "open").path
        try FileManager.default.copyItem(atPath: folder.appending(path: "key").path, toPath: open)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: open)
        for (arguments, words) in [
            ([address], "Refused: this coordinator takes encrypted connections only"),
            ([address, try key("other")], "Unreachable: \(address): the coordinator does not take this key"),
            ([address, open], "chmod 600"), (["nowhere"], "give HOST:PORT"),
        ] {
            let program = try python(Self.standard, [job] + arguments)
            #expect(program.waitForEnd() == 1 && program.text.contains(words), "\(arguments): \(program.text)")
        }
        coordinator.terminate()
        #expect(coordinator.waitForEnd() == 0)
        let program = try python(Self.standard, [job, address, folder.appending(path: "key").path])
        #expect(program.waitForEnd() == 1 && program.text.contains("Unreachable: \(address)"), "\(program.text)")
    }

    /// The channel against published vectors, and the client against a coordinator that does not answer as it should.
    @Test(arguments: ["test_moe_channel.py", "test_moe_coordinator.py"]) func itsOwnTestsPass(file: String) throws {
        let tests = try python(Self.standard, [path("Tests/python/\(file)")])
        #expect(tests.waitForEnd() == 0, "\(tests.text)")
    }

    @Test(.enabled(if: FileManager.default.fileExists(atPath: withTorch), "no .venv: make test makes it"))
    func aJobInPyTorchTrainsUnderItsPlans() throws {
        let (coordinator, address) = try coordinator()
        defer { coordinator.terminate() }
        let job = try python(Self.withTorch, [path("examples/pytorch_job.py"), address])
        #expect(job.waitForEnd() == 0, "\(job.text)")
        let run = try CtlProgram(["run", "show", "pytorch", "--coordinator", address, "-o", "json"])
        let summary = try JSONDecoder().decode(Run.self, from: Data(run.output.utf8)).summary
        #expect(summary.state == "completed" && summary.step == 60, "\(run.output)")
    }
}
