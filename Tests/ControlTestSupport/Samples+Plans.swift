import ControlProtocol
import ExpertPlacement

/// Messages about plans.
extension Samples {
    public static let experts = [ExpertID(layer: 0, expert: 2), ExpertID(layer: 1, expert: 0)]

    public static let prediction = PlanPrediction(
        secondsBefore: 0.5, secondsAfter: 0.25, balanceBefore: 0.5, balanceAfter: 0.875, replicaNeurons: 16,
        homeNeurons: 32, moveSeconds: 0.125, bytes: 4096, forecastError: 0.0625)

    public static let observation = PlanObservation(
        secondsBefore: 0.5, secondsAfter: 0.25, balanceBefore: 0.5, balanceAfter: 0.75)

    /// Another placement than the allocator's first: expert e of each layer on rank (e + `shift`) mod W.
    public static func shiftedPlan(
        by shift: Int, worldSize: Int = 2, model: ExpertModel = model
    ) throws -> PlacementPlan {
        try PlacementPlan(
            worldSize: worldSize,
            layers: model.layers.map { widths in
                LayerPlacement(
                    experts: try widths.enumerated().map { expert, width in
                        try ExpertPlacement(
                            width: width,
                            mesh: DeviceMesh(
                                dataParallel: 1, tensorParallel: 1, ranks: [(expert + shift) % worldSize]))
                    })
            })
    }

    /// Every expert on every rank.
    public static func replicatedPlan(worldSize: Int = 2, model: ExpertModel = model) throws -> PlacementPlan {
        try PlacementPlan(
            worldSize: worldSize,
            layers: model.layers.map { widths in
                LayerPlacement(
                    experts: try widths.map { width in
                        try ExpertPlacement(
                            width: width,
                            mesh: DeviceMesh(
                                dataParallel: worldSize, tensorParallel: 1, ranks: Array(0..<worldSize)))
                    })
            })
    }

    public static func progress(
        _ transition: PlanProgress.Transition, run: String = "shakespeare", incarnation: Int = 1, revision: Int = 2,
        step: Int = 30, switched: [LayerSwitch] = [], reason: String? = nil
    ) -> PlanProgress {
        PlanProgress(
            run: run, incarnation: incarnation, revision: revision, transition: transition, step: step,
            switched: switched, bytes: 1024 * switched.count, seconds: 0.25 * Double(switched.count),
            verifySeconds: 0.125 * Double(switched.count), reason: reason)
    }

    static var planRequests: [any ControlRequest] {
        get throws {
            var measured = registerRun()
            measured.memoryLimits = [1 << 20, 1 << 21]
            measured.exchange = ExchangeCosts(latencySeconds: 0.000_061_035_156_25, bytesPerSecond: 1e9)
            measured.ownership = .decoupled
            measured.interval = 10
            let switches = [LayerSwitch(layer: 1, step: 30), LayerSwitch(layer: 0, step: 31)]
            return [
                RecordCheckpoint(
                    run: "shakespeare", incarnation: 1, step: 40, path: "/data/checkpoints/step-40", bytes: 1 << 30,
                    seconds: 1.5),
                ListCheckpoints(), ListCheckpoints(run: "shakespeare", limit: 5),
                measured, PollPlan(run: "shakespeare", incarnation: 1, revision: 1), progress(.accepted),
                progress(.applying, switched: [switches[0]]),
                progress(.applied, step: 31, switched: switches),
                progress(.rejected, reason: "rank 1 would need 1 byte more than it has"),
                ListPlans(), ListPlans(run: "shakespeare", limit: 5),
                ProposePlacement(plan: try plan, who: "ada", why: "a test"),
                ProposePlacement(run: "shakespeare", rollbackTo: 1, dryRun: true, who: "ada", why: "slower"),
                ProposePlacement(replan: true, who: "ada", why: "now"),
                ControlPlanning(freeze: true, who: "ada", why: "a measurement"),
                ControlPlanning(run: "shakespeare", pin: experts, dryRun: true, who: "ada", why: "a test"),
                ControlPlanning(freeze: false, pin: [experts[0]], unpin: [experts[1]], who: "ada", why: "done"),
            ]
        }
    }

    static var planAnswers: [any ControlMessage] {
        get throws {
            let early = Timestamp(milliseconds: 1_790_000_000_007)
            let late = Timestamp(milliseconds: 1_790_000_100_000)
            let first = PlanSummary(
                revision: 1, state: .superseded, incarnation: 1, createdAt: early, who: "rank 0", why: "first",
                reason: "revision 2 became active", switchedLayers: 2, layers: 2, activatedAt: early, endedAt: late)
            let second = PlanSummary(
                revision: 2, state: .active, incarnation: 1, createdAt: early, who: "allocator load-balanced",
                why: "faster", acceptedStep: 30, switchedLayers: 2, layers: 2, activatedAt: late,
                prediction: prediction, bytes: 4096, seconds: 0.5, verifySeconds: 0.25, observation: observation)
            let events = RunEvent.Kind.allCases.map {
                RunEvent(kind: $0, at: early, incarnation: 1, who: "ada", why: "why")
            }
            let summary = RunSummary(
                run: "r", state: .running, incarnation: 1, worldSize: 2, layers: 2, experts: 6, allocator: "eplb",
                planRevision: 2, createdAt: early, startedAt: early)
            return [
                RecordedCheckpoints(
                    run: "shakespeare",
                    checkpoints: [
                        RecordedCheckpoint(
                            step: 40, incarnation: 1, path: "/data/checkpoints/step-40", bytes: 1 << 30, seconds: 1.5,
                            recordedAt: early)
                    ], truncated: true),
                RecordedCheckpoints(run: "shakespeare", checkpoints: [], truncated: false),
                PlanOffer(plan: nil), PlanOffer(plan: try plan),
                Plans(run: "shakespeare", frozen: true, pinned: experts, plans: [second, first], truncated: true),
                PlacementProposed(
                    run: "shakespeare", revision: 3, plan: try plan, prediction: prediction, why: "faster"),
                PlacementProposed(run: "shakespeare", revision: nil, plan: nil, prediction: nil, why: "nothing better"),
                PlanningState(run: "shakespeare", frozen: true, pinned: experts, withdrawnRevision: 3),
                PlanningState(run: "shakespeare", frozen: false, pinned: []),
                RunShown(
                    summary: summary, model: model, host: "node-1", processID: 4711, reason: nil, configuration: [:],
                    ownership: .decoupled, exchange: ExchangeCosts(latencySeconds: 1e-5, bytesPerSecond: 1e9),
                    storedReports: 0, events: events),
            ]
        }
    }
}
