import ControlProtocol
import ExpertPlacement
import Foundation
import Testing

/// `moe-ctl` against the real coordinator.
@Suite struct CtlCoordinatorTests {
    @Test func showsWhatARunRegistered() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("ctl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let coordinator = try RunningProgram(
            "moe-coordinator",
            ["serve", "--database", directory.appendingPathComponent("moe.db").path, "--listen", "127.0.0.1:0"])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")
        let variables = ["MOE_COORDINATOR": address]
        #expect(try CtlProgram(["run", "list"], environment: variables).output == "no runs\n")

        let client = try await ControlClient.connect(to: Endpoint(address))
        defer { client.close() }
        let model = ExpertModel(hiddenSize: 8, layers: [[4, 4], [4, 4]])
        let registered = try await client.send(
            RegisterRun(
                run: "tiny", registration: "r1", worldSize: 2, nodes: [0, 0], model: model,
                allocator: "expert-parallel", host: "here", processID: 1, configuration: ["steps": "3"]))
        for rank in 0..<2 {
            _ = try await client.send(
                RegisterWorker(
                    run: "tiny", incarnation: registered.incarnation, rank: rank, host: "here", processID: 1 + rank))
        }

        let runs = try CtlProgram(["run", "list", "-o", "json"], environment: variables)
        #expect(try JSONDecoder().decode(Runs.self, from: Data(runs.output.utf8)).runs.map(\.run) == ["tiny"])
        let placement = try CtlProgram(["placement", "show", "-o", "json"], environment: variables)
        #expect(placement.errors == "Note: tiny is the only run.\n")
        #expect(
            try JSONDecoder().decode(Placement.self, from: Data(placement.output.utf8)).plan == registered.plan)
        let table = try CtlProgram(["placement", "show", "--layer", "1"], environment: variables).output
        let rows = table.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        #expect(rows.contains("1 0 1×1 [0] 4 4"))
        #expect(rows.contains("1 1 1×1 [1] 4 4"))
        let workers = try CtlProgram(["worker", "list", "-o", "json"], environment: variables).output
        #expect(try JSONDecoder().decode(Workers.self, from: Data(workers.utf8)).workers.map(\.rank) == [0, 1])
        let shown = try CtlProgram(["run", "show", "tiny"], environment: variables)
        #expect(shown.status == 0 && shown.output.contains("expert-parallel"), "\(shown.output)\(shown.errors)")
        let unknown = try CtlProgram(["run", "show", "tyni"], environment: variables)
        #expect(unknown.status == 1 && unknown.errors.contains("runs are: tiny"), "\(unknown.errors)")

        coordinator.terminate()
        #expect(coordinator.waitForEnd() == 0, "\(coordinator.text)")
    }
}
