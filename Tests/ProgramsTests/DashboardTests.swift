import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// The dashboard in Chromium, as real coordinators serve it: what it shows is what the API tells. `dashboard.py` looks.
@Suite(.serialized) struct DashboardTests {
    init() throws {
        // Nothing to do after `make test`, which has made it.
        let setUp = try RunningProgram(command: ["sh", Repository.root.appending(path: "deploy/python.sh").path])
        try #require(setUp.waitForEnd() == 0, "\(setUp.text)")
    }

    /// Runs the script's part `what`, and `body` with each line in which it asks for something.
    private func look(
        _ what: String, at base: String, _ name: String, body: (_ request: String) async throws -> Void
    ) async throws {
        let script = try RunningProgram(
            command: [
                // Without files of byte code among the sources.
                Repository.root.appending(path: ".venv/bin/python").path, "-B",
                Repository.root.appending(path: "Tests/ProgramsTests/dashboard.py").path, what, base, name,
            ])
        defer { script.terminate() }
        while let line = script.nextLine() {
            if line.hasPrefix("do ") { try await body(String(line.dropFirst(3))) }
            if line.hasPrefix("longest task") { print(line) }
        }
        #expect(script.waitForEnd() == 0 && script.text.hasSuffix("passed\n"), "\(script.text)")
    }

    /// A coordinator that listens, and where: for ranks and for browsers.
    private func coordinator(
        in folder: TemporaryFolder, _ more: String...
    ) throws -> (program: RunningProgram, control: String, page: String) {
        let program = try RunningProgram(
            "moe-coordinator",
            ["serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"] + more)
        let control = try #require(program.readLine(after: "moe-coordinator: listening on "), "\(program.text)")
        let page = program.pastLine(after: "moe-coordinator: dashboard and health on ")
        return (program, control, try #require(page, "\(program.text)"))
    }

    /// Real ranks train until an allocator moves experts; then they are killed, and the coordinator goes and comes back.
    @Test func aRunIsFollowed() async throws {
        let job = try PlanningJob(allocator: "load-balanced")
        try await look("live", at: job.page, PlanningJob.run) { request in
            switch request {
            case "rest":
                _ = try await job.send(ControlPlanning(run: PlanningJob.run, freeze: true, who: "test", why: "a test"))
                try await job.wait("rest") { try await job.plans().plans.allSatisfy { !$0.state.isInFlight } }
            case "kill the ranks":
                for rank in ProcessTable.children(of: job.ranks.processIdentifier) { kill(rank, SIGKILL) }
                _ = job.ranks.waitForEnd()
            case "kill the coordinator": job.killCoordinator()
            case "start the coordinator": try job.startCoordinator()
            default: Issue.record("what is \(request)?")
            }
        }
    }

    /// Thousands of intervals.
    @Test func aLongRunIsShownSmoothly() async throws {
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let client = try await ControlClient.connect(to: Endpoint(control))
        defer { client.close() }
        _ = try await client.send(Samples.registerRun("long", worldSize: 1))
        _ = try await client.send(Samples.registerWorker("long"))
        var reported = 0
        func report(_ count: Int) async throws {
            let items = (reported + 1...reported + count).map {
                Reports.Item(sequence: $0, sample: Samples.sample(firstStep: 10 * $0 + 1, loss: 4 / Double($0)))
            }
            _ = try await client.send(Reports(run: "long", incarnation: 1, rank: 0, reports: items))
            reported += count
        }
        for _ in 0..<120 { try await report(50) }
        try await look("long", at: page, "long") { _ in try await report(1) }
    }

    /// 60 layers of 256 experts, which have a capacity, on 1,024 ranks of 128 nodes.
    @Test func aLargeRunIsShownSmoothly() async throws {
        let seed = TestRuns.seed()
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let run = try LargeRun(seed: seed)
        try await run.register(at: Endpoint(control))
        try await run.report(at: Endpoint(control))
        try await run.replace(at: Endpoint(control))
        try await run.report(at: Endpoint(control))
        try await look("large", at: page, LargeRun.name) { _ in
            try await run.report(at: Endpoint(control))
        }
    }

    /// Beyond it numbers of steps would not be told apart.
    @Test func theLastStepIsShown() async throws {
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let client = try await ControlClient.connect(to: Endpoint(control))
        defer { client.close() }
        _ = try await client.send(Samples.registerRun("last", worldSize: 1))
        _ = try await client.send(Samples.registerWorker("last"))
        let sample = Samples.sample(firstStep: Limits.standard.integer - 9, loss: 2.5)
        _ = try await client.send(Samples.report("last", sample: sample))
        try await look("last", at: page, "last") { Issue.record("what is \($0)?") }
    }

    /// A layer may have no experts, and they may have nothing to do. While a part of the page fails the others go on.
    @Test func whatIsOddFreezesNothing() async throws {
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let client = try await ControlClient.connect(to: Endpoint(control))
        defer { client.close() }
        let model = ExpertModel(hiddenSize: 8, layers: [[], [16, 16, 16], [16, 16, 16]])
        _ = try await client.send(Samples.registerRun("layers", worldSize: 1, model: model))
        _ = try await client.send(Samples.registerWorker("layers"))
        var reported = 0
        func report() async throws {
            reported += 1
            let sample = Samples.sample(
                firstStep: 10 * reported + 1, loads: [[], [0, 0, 0], [1, 2, 9]], loss: 2.5)
            _ = try await client.send(Samples.report("layers", sequence: reported, sample: sample))
        }
        try await report()
        try await look("layers", at: page, "layers") { _ in try await report() }
    }

    /// Rank 1 was cut off for eight intervals, and sends them all at once.
    @Test func lateReportsAreShown() async throws {
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let client = try await ControlClient.connect(to: Endpoint(control))
        defer { client.close() }
        _ = try await client.send(Samples.registerRun("late"))
        for rank in 0..<2 { _ = try await client.send(Samples.registerWorker("late", rank: rank)) }
        for sequence in 1...8 {
            let sample = Samples.sample(firstStep: 10 * sequence, loss: 2.5)
            _ = try await client.send(Samples.report("late", sequence: sequence, sample: sample))
        }
        try await look("late", at: page, "late") { _ in
            _ = try await client.send(Samples.reports(1...8, of: "late"))
        }
    }

    /// Before it is registered, and after it was deleted, and again.
    @Test func aRunThatIsNotThereIsWaitedFor() async throws {
        let folder = try TemporaryFolder()
        let (coordinator, control, page) = try coordinator(in: folder)
        defer { coordinator.terminate() }
        let client = try await ControlClient.connect(to: Endpoint(control))
        defer { client.close() }
        var incarnation = 0
        try await look("gone", at: page, "gone") { request in
            guard request != "delete" else {
                _ = try await client.send(Samples.finishRun("gone", incarnation: incarnation))
                _ = try await client.send(DeleteRun(run: "gone", who: "ada", why: "old"))
                return
            }
            let loss = try #require(Double(request.split(separator: " ").last ?? ""))
            let run = try await client.send(
                Samples.registerRun("gone", registration: "loss-\(loss)", worldSize: 1))
            incarnation = run.incarnation
            _ = try await client.send(Samples.registerWorker("gone", incarnation: incarnation))
            let sample = Samples.sample(loss: loss)
            _ = try await client.send(Samples.report("gone", incarnation: incarnation, sample: sample))
        }
    }

    @Test func aTokenIsAskedFor() async throws {
        let folder = try TemporaryFolder()
        let secret = "correct-horse-battery-staple-for-tests"
        try Data(secret.utf8).write(to: folder.url.appending(path: "token"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder.path("token"))
        let (coordinator, control, page) = try coordinator(in: folder, "--http-token-file", folder.path("token"))
        defer { coordinator.terminate() }
        try await look("token", at: page, secret) { _ in
            let client = try await ControlClient.connect(to: Endpoint(control))
            defer { client.close() }
            _ = try await client.send(Samples.registerRun())
        }
    }
}

/// A run whose ranks are played by the test.
private final class LargeRun {
    static let name = "large"
    private static let (layers, experts, ranks, ranksOfNode) = (60, 256, 1_024, 8)
    private static let stepsOfReport = 10

    private var generator: SeededGenerator
    private let plan: PlacementPlan
    private var reports = 0

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        plan = try Self.plan(&generator)
    }

    /// Replicas and shards on ranks drawn at random.
    private static func plan(_ generator: inout SeededGenerator) throws -> PlacementPlan {
        let shapes = [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)]
        let layers = try (0..<Self.layers).map { _ in
            try LayerPlacement(
                experts: (0..<Self.experts).map { _ in
                    let (replicas, shards) = shapes[Int.random(in: 0..<shapes.count, using: &generator)]
                    let first = Int.random(in: 0..<Self.ranks, using: &generator)
                    let ranks = (0..<replicas * shards).map { (first + 9 * $0) % Self.ranks }
                    return try ExpertPlacement(
                        width: 64, mesh: DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: ranks))
                })
        }
        return try PlacementPlan(worldSize: ranks, nodes: (0..<ranks).map { $0 / ranksOfNode }, layers: layers)
    }

    /// Does `body` for all ranks, on several connections.
    private func forEachRank(
        at endpoint: Endpoint, _ body: @escaping @Sendable (ControlClient, Int) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let connections = 16
            for first in 0..<connections {
                group.addTask {
                    let client = try await ControlClient.connect(to: endpoint)
                    defer { client.close() }
                    for rank in stride(from: first, to: Self.ranks, by: connections) { try await body(client, rank) }
                }
            }
            try await group.waitForAll()
        }
    }

    func register(at endpoint: Endpoint) async throws {
        let client = try await ControlClient.connect(to: endpoint)
        defer { client.close() }
        let model = ExpertModel(
            hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 64, count: Self.experts), count: Self.layers))
        _ = try await client.send(
            Samples.registerRun(
                Self.name, worldSize: Self.ranks, nodes: plan.nodes, model: model, allocator: "replicated", plan: plan))
        try await forEachRank(at: endpoint) { client, rank in
            _ = try await client.send(Samples.registerWorker(Self.name, rank: rank))
        }
    }

    /// An interval of all ranks; rank 0 is the last, so that it is whole at once.
    func report(at endpoint: Endpoint) async throws {
        reports += 1
        let (sequence, first) = (reports, (reports - 1) * Self.stepsOfReport + 1)
        let loads = (0..<Self.layers).map { _ in
            (0..<Self.experts).map { _ in Int.random(in: 500...20_000, using: &generator) }
        }
        let dropped = (0..<Self.layers).map { _ in Int.random(in: 0...500_000, using: &generator) }
        let seconds = (0..<Self.ranks).map { _ in Double.random(in: 0.3...0.5, using: &generator) }
        @Sendable func report(_ rank: Int) -> Report {
            let sample = PerformanceSample(
                firstStep: first, stepCount: Self.stepsOfReport, planRevision: sequence == 1 ? 1 : 2, stepSeconds: 1.2,
                phaseSeconds: [
                    "attention": 0.1, "router": 0.02, "dispatch": 0.55 - seconds[rank], "experts": seconds[rank],
                    "combine": 0.05, "gradients": 0.2, "optimizer": 0.1,
                ],
                bytesSent: 1 << 20, tokens: 4_096, residentBytes: 1 << 30, expertLoads: rank == 0 ? loads : nil,
                droppedTokens: rank == 0 ? dropped : nil, loss: rank == 0 ? 4 / Double(sequence) : nil)
            return Samples.report(Self.name, rank: rank, sequence: sequence, sample: sample)
        }
        try await forEachRank(at: endpoint) { client, rank in
            if rank > 0 { _ = try await client.send(report(rank)) }
        }
        let client = try await ControlClient.connect(to: endpoint)
        defer { client.close() }
        _ = try await client.send(report(0))
    }

    /// Another plan, which all layers switch to.
    func replace(at endpoint: Endpoint) async throws {
        let client = try await ControlClient.connect(to: endpoint)
        defer { client.close() }
        let proposed = try await client.send(
            ProposePlacement(run: Self.name, plan: try Self.plan(&generator), who: "test", why: "a test"))
        let revision = try #require(proposed.revision)
        for transition in [PlanProgress.Transition.accepted, .applying, .applied] {
            let switched = (0..<Self.layers).map { LayerSwitch(layer: $0, step: Self.stepsOfReport + 1) }
            _ = try await client.send(
                PlanProgress(
                    run: Self.name, incarnation: 1, revision: revision, transition: transition,
                    step: Self.stepsOfReport + 1, switched: transition == .accepted ? [] : switched, bytes: 1 << 30,
                    seconds: 0.25))
        }
    }
}
