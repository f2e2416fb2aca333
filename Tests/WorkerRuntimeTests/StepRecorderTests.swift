import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import Synchronization
import Testing
import WorkerRuntime

@Suite struct StepRecorderTests {
    /// Keeps the samples that all its copies got.
    private final class SampleLog: Sendable {
        let samples = Mutex([(rank: Int, sample: PerformanceSample)]())
    }

    private struct LoggingDispatcher: TokenDispatcher {
        let log: SampleLog
        func collectPerformance(_ sample: PerformanceSample, rank: Int) {
            log.samples.withLock { $0.append((rank, sample)) }
        }
        func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int { 0 }
    }

    /// Records steps on two ranks, expert-parallel at first.
    /// - Parameters:
    ///   - interval: steps between reports.
    ///   - plans: offered from step 6 on, a layer of each switching before a step.
    ///   - outcome: of a step, from 0.
    private func samples(
        steps: Int, interval: Int, following plans: [PlacementPlan] = [],
        outcome: @escaping @Sendable (Int) -> TrainingStep.Outcome = { _ in TrainingStep.Outcome() }
    ) throws -> [(rank: Int, sample: PerformanceSample)] {
        let fixture = try TrainingFixture()
        var options = fixture.options(steps: steps)
        options.reportInterval = interval
        let final = options
        let log = SampleLog()
        _ = try ThreadCommunicator.run(worldSize: 2) { communicator in
            let context = ExpertParallelContext(communicator: communicator)
            let model = MixtralModel(configuration: try TrainingFixture.configuration(layers: Self.layers))
            let expertModel = ExpertModel(model.configuration)
            let cluster = Cluster(nodes: [0, 0])
            let first = try Self.plan("expert-parallel", revision: 1)
            try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
                allocator: StaticAllocator(.expertParallel), dispatcher: LoggingDispatcher(log: log),
                configuration: ParallelConfiguration(
                    layers: Self.layers, expertsPerLayer: .uniform(4), context: context, plan: first))
            let control = try ControlPlane.open(
                options: final, model: expertModel, cluster: cluster, communicator: communicator)
            let recorder = StepRecorder(
                options: final, context: context, planRevision: 1, control: control,
                experts: model.namedModules().compactMap { $0.module as? ParallelExperts }, display: nil, logs: nil)
            let follower = PlanFollower(
                plan: first, optimizer: MoEOptimizer(model: model, context: context), model: expertModel,
                cluster: cluster, source: communicator.rank == 0 ? ScriptedPlans(plans) : nil, budgetBytes: 1,
                communicator: communicator)
            var isOffered = false
            for step in 0..<steps {
                let outcome = try recorder.time {
                    if isOffered { _ = try follower.consider(step: step + 1, stepSeconds: 1) }
                    if let progress = try follower.advance(step: step + 1) {
                        try recorder.note(progress, step: step + 1)
                    }
                    return outcome(step)
                }
                isOffered = try recorder.record(
                    outcome, step: step, validationLoss: nil,
                    hasOffer: step >= 4 && follower.hasOffer(before: step + 2), isLast: step == steps - 1
                ).hasOffer
            }
        }
        return log.samples.withLock { $0 }
    }

    private static let layers = 3

    private static func plan(_ allocator: String, revision: Int) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: allocator)
        var plan = try #require(
            try allocator.allocateExperts(
                current: nil, model: ExpertModel(TrainingFixture.configuration(layers: layers)),
                cluster: Cluster(worldSize: 2), step: 0))
        plan.revision = revision
        return plan
    }

    /// What is measured reaches the dispatcher of each layer, with or without a coordinator.
    @Test func dispatchersGetTheSamples() throws {
        let samples = try samples(steps: 19, interval: 8)
        for rank in 0..<2 {
            // By interval, then layer.
            let steps = samples.filter { $0.rank == rank }.map { [$0.sample.firstStep, $0.sample.stepCount] }
            // In the first interval also after 2 and 4 steps.
            let intervals = [[1, 2], [3, 2], [5, 4], [9, 8], [17, 3]]
            #expect(steps == intervals.flatMap { [$0, $0, $0] })
        }
    }

    /// The three layers of a plan switch before steps 6, 7 and 8, which are of neither plan.
    @Test func noSampleMixesPlans() throws {
        let samples = try samples(
            steps: 20, interval: 10, following: [try Self.plan("tensor-parallel", revision: 2)])
        for rank in 0..<2 {
            let ofFirstLayer = samples.filter { $0.rank == rank }.enumerated().filter { $0.offset % Self.layers == 0 }
            let found = ofFirstLayer.map(\.element.sample).map { [$0.firstStep, $0.stepCount, $0.planRevision] }
            #expect(found == [[1, 2, 1], [3, 2, 1], [5, 1, 1], [6, 3, 0], [9, 2, 2], [11, 10, 2]])
        }
    }

    /// Steps 0 to 3 and 5 are skipped, the last after some of its micro-batches.
    @Test func skippedStepsHaveTheLoadsOfTheOthers() throws {
        let samples = try samples(steps: 8, interval: 4) { step in
            var outcome = TrainingStep.Outcome()
            outcome.isSkipped = step < 4 || step == 5
            outcome.loss = outcome.isSkipped ? .nan : 1
            if step >= 4 { outcome.expertLoads = [[10 + step, 1, 0, 0]] }
            return outcome
        }
        for rank in 0..<2 {
            let loads = samples.filter { $0.rank == rank }.map(\.sample).filter { $0.firstStep + $0.stepCount <= 9 }
            #expect(loads.map(\.firstStep) == [1, 1, 1, 3, 3, 3, 5, 5, 5])
            // 14, 16 and 17 rows, and their mean once more.
            #expect(
                loads.map(\.expertLoads) == [[[Int]]?](repeating: nil, count: 6)
                    + [[[Int]]?](repeating: rank == 0 ? [[63, 4, 0, 0]] : nil, count: 3))
        }
    }

    /// Pairs that found no place are not among the loads, and counted like them: the last step was skipped.
    @Test func whatIsDroppedStandsBesideTheLoads() throws {
        let samples = try samples(steps: 4, interval: 4) { step in
            var outcome = TrainingStep.Outcome()
            outcome.isSkipped = step == 3
            outcome.expertLoads = [[10, 6, 0, 0], [4, 4, 4, 4]]
            outcome.droppedLoads = [[step + 1, 2, 0, 0], [0, 0, 0, 0]]
            return outcome
        }
        for rank in 0..<2 {
            let found = samples.filter { $0.rank == rank }.enumerated().filter { $0.offset % Self.layers == 0 }
                .map(\.element.sample)
            guard rank == 0 else {
                #expect(found.allSatisfy { $0.expertLoads == nil && $0.droppedTokens == nil } && found.count == 2)
                continue
            }
            #expect(
                found.map(\.expertLoads) == [[[17, 8, 0, 0], [8, 8, 8, 8]], [[14, 8, 0, 0], [8, 8, 8, 8]]])
            #expect(found.map(\.droppedTokens) == [[7, 0], [10, 0]])
        }
    }
}
