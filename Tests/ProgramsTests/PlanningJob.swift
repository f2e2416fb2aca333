import ControlProtocol
import ExpertPlacement
import Foundation
import GRDB
import Testing

/// A coordinator and two ranks that train until the test has seen enough. All tokens are the same and go to one expert, so
/// that one rank has all the work until the planner does something about it.
final class PlanningJob {
    struct TookTooLong: Error, CustomStringConvertible { let description: String }

    static let run = "skewed"
    private static let patience = Duration.seconds(120)

    let inputs: WorkerInputs
    private(set) var coordinator: RunningProgram
    let address: String
    /// Where the coordinator has its page.
    let page: String
    let ranks: RunningProgram
    private let serve: [String]

    /// - Parameter configuration: of the coordinator, in YAML.
    init(
        allocator: String, configuration: String = "", layers: Int = 2, width: Int = 128,
        worker: [String: String?] = [:]
    ) throws {
        inputs = try WorkerInputs()
        try inputs.skewLoads(layers: layers, width: width)
        try Data(configuration.utf8).write(to: inputs.folder.appending(path: "moe.yaml"))
        let arguments = [
            "serve", "--database", inputs.path("moe.db"), "--config", inputs.path("moe.yaml"), "--listen",
        ]
        let coordinator = try RunningProgram("moe-coordinator", arguments + ["127.0.0.1:0", "--http", "127.0.0.1:0"])
        guard let address = coordinator.readLine(after: "moe-coordinator: listening on ") else {
            throw WorkerInputsError(output: coordinator.text)
        }
        // It says so before it listens for ranks.
        guard let page = coordinator.pastLine(after: "moe-coordinator: dashboard and health on ") else {
            throw WorkerInputsError(output: coordinator.text)
        }
        self.coordinator = coordinator
        self.address = address
        self.page = page
        serve = arguments + [address, "--http", String(page.dropFirst("http://".count))]
        ranks = try RunningProgram(
            "moe-worker",
            inputs.arguments(
                [
                    "--steps": "100000000", "--log-interval": "100000000", "--report-interval": "5",
                    "--batch-size": "32", "--sequence-length": "16", "--learning-rate": "1e-5", "--run": Self.run,
                    "--coordinator": address, "--allocator": allocator, "--metrics": inputs.path("metrics.jsonl"),
                ].merging(worker) { $1 }), ranks: 2, timeLimitSeconds: 280)
    }

    deinit {
        for program in [ranks, coordinator] {
            program.terminate()
            _ = program.waitForEnd()
        }
    }

    /// Ends the coordinator as a power cut would.
    func killCoordinator() {
        kill(coordinator.processIdentifier, SIGKILL)
        _ = coordinator.waitForEnd()
    }

    /// What a coordinator that is dead has left in its database.
    func stored<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        let database = try DatabaseQueue(path: inputs.path("moe.db"))
        let value = try await database.write(body)
        try database.close()
        return value
    }

    /// Starts the coordinator that was killed, after `sql` has changed its database.
    func startCoordinator(after sql: String) async throws {
        try await stored { db in try db.execute(sql: sql) }
        try startCoordinator()
    }

    /// Starts the coordinator that was killed, where it was.
    func startCoordinator() throws {
        coordinator = try RunningProgram("moe-coordinator", serve)
        try #require(coordinator.readLine(after: "moe-coordinator: listening on ") != nil, "\(coordinator.text)")
    }

    func send<Request: ControlRequest>(_ request: Request) async throws -> Request.Reply {
        let client = try await ControlClient.connect(to: Endpoint(address))
        defer { client.close() }
        return try await client.send(request)
    }

    func plans() async throws -> Plans { try await send(ListPlans(run: Self.run)) }

    func activePlan() async throws -> Placement { try await send(ShowPlacement(run: Self.run)) }

    /// The active plan with every expert on the other rank.
    func swapped() async throws -> PlacementPlan {
        let plan = try await activePlan().plan
        return try PlacementPlan(
            worldSize: plan.worldSize, nodes: plan.nodes,
            layers: plan.layers.map { layer in
                try LayerPlacement(
                    experts: layer.experts.map { expert in
                        try ExpertPlacement(
                            width: expert.width,
                            mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [1 - expert.mesh.ranks[0]]))
                    })
            })
    }

    func propose(_ plan: PlacementPlan) async throws -> PlacementProposed {
        try await send(ProposePlacement(run: Self.run, plan: plan, who: "test", why: "a test"))
    }

    /// What the ranks wrote last; nil: nothing yet.
    func lastStep() throws -> (step: Int, revision: Int)? {
        struct Line: Decodable {
            var step: Int
            var revision: Int

            enum CodingKeys: String, CodingKey {
                case step
                case revision = "plan_revision"
            }
        }
        guard let file = FileHandle(forReadingAtPath: inputs.path("metrics.jsonl")) else { return nil }
        defer { try? file.close() }
        let end = try file.seekToEnd()
        try file.seek(toOffset: end > 65_536 ? end - 65_536 : 0)
        let lines = try (file.readToEnd() ?? Data()).split(separator: 0x0a, omittingEmptySubsequences: false)
        // What follows the last line break is not whole yet; what comes first may be the end of a line.
        guard lines.count >= 2, let line = try? JSONDecoder().decode(Line.self, from: lines[lines.count - 2]) else {
            return nil
        }
        return (line.step, line.revision)
    }

    /// Waits for steps after those that the ranks have done by now.
    /// - Returns: the revision on the ranks.
    @discardableResult
    func waitForSteps(_ count: Int = 20) async throws -> Int {
        let before = try lastStep()?.step ?? 0
        try await wait("\(count) steps after \(before)") { try self.lastStep()?.step ?? 0 >= before + count }
        return try lastStep()?.revision ?? 0
    }

    /// Asks until `isMet`. Errors of a coordinator that is away count as no.
    func wait(_ what: String, until isMet: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + Self.patience
        while true {
            var failure = ""
            do {
                if try await isMet() { return }
            } catch let error as ControlError {
                failure = " (\(error.message))"
            }
            guard ContinuousClock.now < deadline else {
                throw TookTooLong(description: "no \(what)\(failure) within \(Self.patience)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Checks that one plan is active, `revision` where it is given, none is on its way, and the ranks train under it.
    func expectOneActivePlan(_ revision: Int? = nil) async throws {
        let listed = try await plans()
        let active = listed.plans.filter { $0.state == .active }.map(\.revision)
        #expect(active.count == 1, "\(listed)")
        if let revision { #expect(active == [revision], "\(listed)") }
        #expect(listed.plans.allSatisfy { !$0.state.isInFlight }, "\(listed)")
        #expect(try await waitForSteps() == active.first)
    }
}
