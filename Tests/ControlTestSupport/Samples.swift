import ControlProtocol
import ExpertPlacement

/// Messages for tests.
public enum Samples {
    public static let model = ExpertModel(hiddenSize: 8, layers: [[16, 16, 16], [16, 16, 16]])

    public static func registerRun(
        _ run: String = "shakespeare", registration: String = "a1", worldSize: Int = 2, nodes: [Int]? = nil,
        model: ExpertModel = model, allocator: String = "expert-parallel", plan: PlacementPlan? = nil
    ) -> RegisterRun {
        RegisterRun(
            run: run, registration: registration, worldSize: worldSize,
            nodes: nodes ?? [Int](repeating: 0, count: worldSize), model: model, allocator: allocator, plan: plan,
            host: "node-1", processID: 4711, configuration: ["seed": "7", "batch_size": "12"])
    }

    public static func registerWorker(
        _ run: String = "shakespeare", incarnation: Int = 1, rank: Int = 0
    ) -> RegisterWorker {
        RegisterWorker(run: run, incarnation: incarnation, rank: rank, host: "node-1", processID: 4711 + rank)
    }

    public static func sample(
        firstStep: Int = 11, loads: [[Int]]? = nil, dropped: [Int]? = nil, loss: Double? = nil
    ) -> PerformanceSample {
        PerformanceSample(
            firstStep: firstStep, stepCount: 10, planRevision: 1, stepSeconds: 0.5,
            phaseSeconds: ["experts": 0.25, "dispatch": 0.125], bytesSent: 4096, tokens: 7680, residentBytes: 1 << 20,
            expertLoads: loads, droppedTokens: dropped, loss: loss)
    }

    public static func report(
        _ run: String = "shakespeare", incarnation: Int = 1, rank: Int = 0, sequence: Int = 1,
        sample: PerformanceSample = sample(loads: [[1, 2, 3], [4, 5, 6]], loss: 2.5)
    ) -> Report {
        Report(run: run, incarnation: incarnation, rank: rank, sequence: sequence, sample: sample)
    }

    /// Several of rank 1 in one frame.
    public static func reports(_ sequences: ClosedRange<Int>, of run: String = "shakespeare") -> Reports {
        Reports(
            run: run, incarnation: 1, rank: 1,
            reports: sequences.map { Reports.Item(sequence: $0, sample: sample(firstStep: 10 * $0)) })
    }

    public static func finishRun(_ run: String = "shakespeare", incarnation: Int = 1) -> FinishRun {
        FinishRun(run: run, incarnation: incarnation, outcome: .completed, step: 20)
    }

    public static func joinWorld(run: String? = "shakespeare", worldSize: Int = 2, rank: Int = 0) -> JoinWorld {
        JoinWorld(run: run, worldSize: worldSize, rank: rank, host: "node-1", processID: 4711 + rank)
    }

    /// A plan with everything a plan can have.
    public static var plan: PlacementPlan {
        get throws {
            let wide = try ExpertPlacement(
                width: 16, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [0, 3, 2, 1]),
                fractions: [0.25, 0.75], cuts: [0, 5, 16])
            let narrow = try ExpertPlacement(
                width: 8, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [2]))
            return try PlacementPlan(
                revision: 3, worldSize: 4, nodes: [0, 0, 1, 1],
                layers: [LayerPlacement(experts: [wide, narrow], switchStep: 40), LayerPlacement(experts: [narrow])])
        }
    }

    public static var requests: [any ControlRequest] {
        get throws {
            [
                registerRun(), registerRun(worldSize: 4, nodes: [0, 0, 1, 1], plan: try plan), registerWorker(rank: 1),
                report(), report(rank: 1, sequence: 2, sample: sample()), finishRun(), reports(1...2),
                report(sequence: 3, sample: sample(loads: [[1, 2, 3], [4, 5, 6]], dropped: [4, 0], loss: 2.5)),
                FinishRun(run: "r", incarnation: 2, outcome: .failed, step: 5, reason: "loss at step 5 is not finite"),
                ListRuns(), ShowRun(), ShowRun(run: "shakespeare"), ShowPlacement(),
                ShowPlacement(run: "shakespeare", layer: 1, revision: 2), ListWorkers(),
                ListWorkers(run: "shakespeare"),
                ListRuns(all: true), ArchiveRun(run: "shakespeare", dryRun: true, who: "ada", why: "old"),
                DeleteRun(run: "shakespeare", who: "ada", why: "old"), BackUpDatabase(file: "2026-11-24.db"),
                joinWorld(worldSize: 1), joinWorld(run: nil, worldSize: 1),
                OpenWorld(world: "w1", address: "[2001:db8::7]:40001"),
            ] + (try planRequests) + pastRequests
        }
    }

    public static var answers: [any ControlMessage] {
        get throws {
            let early = Timestamp(milliseconds: 1_790_000_000_007)
            let late = Timestamp(milliseconds: 1_790_000_100_000)
            let running = RunSummary(
                run: "shakespeare", state: .running, incarnation: 1, worldSize: 2, layers: 2, experts: 6,
                allocator: "expert-parallel", planRevision: 1, createdAt: early, startedAt: early)
            var finished = running
            finished.state = .completed
            finished.finishedAt = late
            finished.archivedAt = late
            finished.reportedAt = late
            finished.step = 20
            finished.loss = 1.5
            let worker = WorkerSummary(
                run: "shakespeare", incarnation: 1, rank: 0, host: "node-1", processID: 4711, registeredAt: early)
            var reporting = worker
            reporting.rank = 1
            reporting.reportedAt = late
            reporting.step = 20
            reporting.stepSeconds = 0.05
            reporting.residentBytes = 1 << 20
            let events = [
                RunEvent(kind: .runFinished, at: late, incarnation: 1, who: "rank 0", why: "completed after step 20"),
                RunEvent(kind: .planActivated, at: early, incarnation: 1, revision: 1, who: "rank 0", why: "first"),
            ]
            return [
                RunRegistered(run: "shakespeare", incarnation: 1, plan: try plan),
                WorkerRegistered(run: "shakespeare", incarnation: 1, rank: 1), Acknowledged(sequence: 7),
                Acknowledged(), Runs(runs: [finished, running], truncated: true), Runs(runs: [], truncated: false),
                RunShown(
                    summary: finished, model: model, host: "node-1", processID: 4711, reason: "why",
                    configuration: ["seed": "7"], storedReports: 2, events: events),
                Placement(
                    run: "shakespeare", state: .superseded, incarnation: 1, createdAt: early, who: "rank 0",
                    why: "first",
                    plan: try plan),
                Workers(workers: [worker, reporting], truncated: false),
                RunArchived(run: "shakespeare", archivedAt: late),
                RunDeleted(run: "shakespeare", incarnations: 1, plans: 2, reports: 3, loads: 4, events: 5),
                DatabaseBackedUp(file: "2026-11-24.db", bytes: 1 << 20),
                DatabaseBackedUp(file: "2026-11-24.db", bytes: nil), WorldJoined(missing: [0, 3], missingCount: 2),
                WorldJoined(world: "w1"), WorldJoined(world: "w1", address: "node-1:40001"),
                ErrorReply(ControlError(.unknownRun, "run x is not known")),
            ] + (try planAnswers) + pastAnswers
        }
    }
}
