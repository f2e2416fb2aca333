import ControlProtocol
import ExpertPlacement

/// Two runs and their workers, as a coordinator would tell of them at `now`.
struct CtlSamples: Sendable {
    /// 2026-01-02T03:04:05.678Z.
    static let fixedMoment = Timestamp(milliseconds: 1_767_323_045_678)

    /// In the words of the coordinator.
    private static let who = "rank 0 on node-1, process 4711"
    private static let why = "the world size went from 2 to 4; placed by the worker's allocator dp=2,tp=2"

    let now: Timestamp
    /// Of the run that is running.
    var name = "shakespeare"

    /// Middles of what the tables round to, so that a slow test shows the same.
    func ago(hours: Int = 0, minutes: Int) -> Timestamp {
        Timestamp(milliseconds: now.milliseconds - Int64((hours * 60 + minutes) * 60_000 + 30_000))
    }

    var model: ExpertModel { ExpertModel(hiddenSize: 128, layers: [[Int]](repeating: [256, 256, 256, 257], count: 3)) }

    var checkpoints: RecordedCheckpoints {
        RecordedCheckpoints(
            run: "shakespeare",
            checkpoints: [
                RecordedCheckpoint(
                    step: 1200, incarnation: 2, path: "/data/shakespeare/step-1200", bytes: 1_500_000_000,
                    seconds: 2.25,
                    recordedAt: ago(minutes: 12)),
                RecordedCheckpoint(
                    step: 1000, incarnation: 1, path: "/data/shakespeare/step-1000", bytes: 1_500_000_000, seconds: 2.5,
                    recordedAt: ago(minutes: 42)),
            ], truncated: false)
    }

    var runs: [RunSummary] {
        [
            RunSummary(
                run: name, state: .running, incarnation: 2, worldSize: 4, layers: 3, experts: 12,
                allocator: "dp=2,tp=2", planRevision: 3, createdAt: ago(hours: 100, minutes: 10),
                startedAt: ago(minutes: 42), reportedAt: ago(minutes: 12), step: 1200, loss: 1.6671875),
            RunSummary(
                run: "first-try", state: .failed, incarnation: 1, worldSize: 2, layers: 3, experts: 12,
                allocator: "tensor-parallel", planRevision: 1, createdAt: ago(hours: 500, minutes: 0),
                startedAt: ago(hours: 500, minutes: 0), finishedAt: ago(hours: 499, minutes: 0)),
        ]
    }

    var archived: RunSummary {
        RunSummary(
            run: "last-year", state: .completed, incarnation: 1, worldSize: 2, layers: 3, experts: 12,
            allocator: "eplb", planRevision: 12, createdAt: ago(hours: 9_000, minutes: 0),
            startedAt: ago(hours: 9_000, minutes: 0), finishedAt: ago(hours: 8_990, minutes: 0),
            archivedAt: ago(hours: 8_980, minutes: 0), reportedAt: ago(hours: 8_990, minutes: 0), step: 5000, loss: 1.25
        )
    }

    var shown: RunShown {
        RunShown(
            summary: runs[0], model: model, host: "node-1", processID: 4711, reason: nil,
            configuration: ["learning_rate": "0.001", "steps": "2000"], ownership: .colocated, storedReports: 96,
            events: [
                RunEvent(
                    kind: .planActivated, at: ago(minutes: 42), incarnation: 2, revision: 3, who: Self.who,
                    why: Self.why),
                RunEvent(
                    kind: .runRegistered, at: ago(minutes: 42), incarnation: 2, who: Self.who,
                    why: "incarnation 2, 4 ranks, allocator dp=2,tp=2"),
            ])
    }

    var workers: [WorkerSummary] {
        (0..<2).map { rank in
            WorkerSummary(
                run: "shakespeare", incarnation: 2, rank: rank, host: "node-1", processID: 4711 + rank,
                registeredAt: ago(minutes: 42), reportedAt: rank == 0 ? ago(minutes: 12) : nil,
                step: rank == 0 ? 1200 : nil, stepSeconds: rank == 0 ? 0.0573 : nil,
                residentBytes: rank == 0 ? 123_456_789 : nil)
        }
    }

    /// Two layers alike on a grid, and one with experts whole on a rank or with fractions and cuts of its own.
    func placement(layer: Int? = nil) throws -> Placement {
        let grid = [256, 256, 256, 257].enumerated().map { index, width in
            (width, index % 2 == 0 ? [0, 1, 2, 3] : [2, 3, 0, 1])
        }
        let alike = LayerPlacement(
            experts: try grid.map { width, ranks in
                try ExpertPlacement(
                    width: width, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: ranks))
            }, switchStep: 0)
        let other = LayerPlacement(
            experts: [
                try ExpertPlacement(width: 256, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [3])),
                try ExpertPlacement(width: 256, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [3])),
                try ExpertPlacement(
                    width: 256, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 1, ranks: [0, 1]),
                    fractions: [0.25, 0.75]),
                try ExpertPlacement(
                    width: 257, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 2, ranks: [2, 0]), cuts: [0, 56, 257]),
            ], switchStep: 40)
        let layers = [alike, alike, other]
        return Placement(
            run: "shakespeare", state: .active, incarnation: 2, createdAt: ago(minutes: 42), who: Self.who,
            why: Self.why, layer: layer,
            plan: try PlacementPlan(
                revision: 3, worldSize: 4, nodes: [0, 0, 1, 1], layers: layer.map { [layers[$0]] } ?? layers))
    }

    /// What the coordinator answers; `run` is known when it is one of `runs`.
    func answer(_ request: AnyRequest) throws(ControlError) -> any ControlMessage {
        func check(_ run: String?) throws(ControlError) {
            guard let run, !runs.contains(where: { $0.run == run }) else { return }
            throw ControlError(.unknownRun, "run \(run) is not known; see moe-ctl run list")
        }
        switch request {
        case .listRuns(let request):
            return Runs(runs: request.all == true ? runs + [archived] : runs, truncated: false)
        case .showRun(let request):
            try check(request.run)
            return shown
        case .listWorkers(let request):
            try check(request.run)
            return Workers(workers: workers, truncated: false)
        case .showPlacement(let request):
            try check(request.run)
            if let layer = request.layer, layer > 2 {
                throw ControlError(.unknownLayer, "layer \(layer) of run \"shakespeare\", which has 3")
            }
            return try known { try placement(revision: request.revision, layer: request.layer) }
        case .listCheckpoints(let request):
            try check(request.run)
            return checkpoints
        case .listPlans(let request):
            try check(request.run)
            return Plans(
                run: "shakespeare", frozen: false, pinned: pinned,
                plans: Array(plans.prefix(request.limit ?? plans.count)), truncated: false)
        case .proposePlacement(let request):
            try check(request.run)
            return try known { try answer(request) }
        case .controlPlanning(let request):
            try check(request.run)
            return answer(request)
        case .archiveRun(let request):
            try check(request.run)
            return RunArchived(run: request.run, archivedAt: now)
        case .deleteRun(let request):
            try check(request.run)
            return RunDeleted(run: request.run, incarnations: 2, plans: 3, reports: 96, loads: 120, events: 9)
        case .backUpDatabase(let request):
            return DatabaseBackedUp(file: request.file, bytes: request.dryRun ? nil : 12_345_678)
        default:
            if let reply = answerAboutReports(request) { return reply }
            throw ControlError(.unknownType, "not for operators")
        }
    }

    private func known<Reply>(_ body: () throws -> Reply) throws(ControlError) -> Reply {
        do {
            return try body()
        } catch let error as ControlError {
            throw error
        } catch {
            throw ControlError(.unsuitablePlan, "the sample is wrong: \(error)")
        }
    }
}
