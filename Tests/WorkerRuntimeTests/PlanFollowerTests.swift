import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import Testing
import TokenData
import WorkerRuntime

/// Offers plans one after the other, and remembers what became of them.
final class ScriptedPlans: PlanSource {
    private var plans: [PlacementPlan]
    private(set) var events = [PlanEvent]()
    private(set) var largestRevision = 0

    init(_ plans: [PlacementPlan]) { self.plans = plans }

    func hasPlan(before step: Int) -> Bool { !plans.isEmpty }
    func takePlan() -> PlacementPlan? {
        guard let plan = plans.first else { return nil }
        plans.removeFirst()
        largestRevision = max(largestRevision, plan.revision)
        return plan
    }
    func note(_ event: PlanEvent) { events.append(event) }
}

@Suite struct PlanFollowerTests {
    private static let layers = 3
    private static let steps = 8
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture(layers: Self.layers) }

    private struct Outcome {
        var losses = [Double]()
        var events = [PlanEvent]()
        /// Of the plan in force during each step.
        var revisions = [Int]()
        /// Why plans were refused, with the step.
        var refusals = [Int: String]()
    }

    private func plan(_ allocator: String, worldSize: Int, revision: Int) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: allocator)
        let model = ExpertModel(try TrainingFixture.configuration(layers: Self.layers))
        var plan = try #require(
            try allocator.allocateExperts(current: nil, model: model, cluster: Cluster(worldSize: worldSize), step: 0))
        plan.revision = revision
        return plan
    }

    /// Trains from an expert-parallel placement.
    /// - Parameters:
    ///   - weights: nothing but numbers that are not finite make every step one that is skipped.
    ///   - limits: of the memory, by the rank that looks at it.
    private func train(
        worldSize: Int, following plans: [PlacementPlan], budgetBytes: Int? = nil,
        weights: RandomWeights = RandomWeights(seed: 3, standardDeviation: 0.2),
        limits: @escaping @Sendable (_ rank: Int) -> [Int]? = { _ in nil }
    ) throws -> [Outcome] {
        let first = try plan("expert-parallel", worldSize: worldSize, revision: 1)
        return try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            var options = fixture.options(steps: Self.steps)
            options.onNonFinite = .skip
            let configuration = try TrainingFixture.configuration(layers: Self.layers)
            let context = ExpertParallelContext(communicator: communicator)
            let model = MixtralModel(configuration: configuration, timer: context.timer)
            try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
                allocator: StaticAllocator(.expertParallel), dispatcher: RandomDispatcher(seed: 1),
                configuration: ParallelConfiguration(
                    layers: Self.layers, expertsPerLayer: .uniform(configuration.experts), context: context,
                    plan: first))
            try model.loadWeights(from: weights)
            let optimizer = MoEOptimizer(model: model, context: context)
            let batches = try BatchSource(
                file: TokenFile(path: fixture.path("train.bin"), vocabularySize: configuration.vocabularySize),
                sequenceLength: options.sequenceLength, batchSize: options.batchSize, order: .sequential)
            let step = TrainingStep(
                model: model, optimizer: optimizer, context: context, batches: batches, options: options)
            let source = communicator.rank == 0 ? ScriptedPlans(plans) : nil
            let follower = PlanFollower(
                plan: first, optimizer: optimizer, model: ExpertModel(configuration),
                cluster: Cluster(
                    nodes: [Int](repeating: 0, count: worldSize), memoryLimits: limits(communicator.rank)),
                source: source, budgetBytes: budgetBytes, communicator: communicator)
            var outcome = Outcome()
            for index in 0..<Self.steps {
                // The first plan comes before step 3.
                var isOffered = [index >= 2 && follower.hasOffer(before: index + 1) ? 1 : 0]
                var span = isOffered.mutableSpan
                try communicator.allReduce(&span, .maximum)
                if isOffered[0] > 0 {
                    outcome.refusals[index + 1] = try follower.consider(step: index + 1, stepSeconds: 1)
                }
                _ = try follower.advance(step: index + 1)
                outcome.losses.append(try step.run(step: index).loss)
                outcome.revisions.append(follower.plan.revision)
            }
            outcome.events = source?.events ?? []
            return outcome
        }
    }

    private func expectSameLosses(_ outcomes: [Outcome], as other: [Outcome]) {
        for outcome in outcomes {
            for (loss, expected) in zip(outcome.losses, other[0].losses) {
                #expect(abs(loss - expected) <= 1e-5 * abs(expected))
            }
        }
    }

    @Test(arguments: [1, 2, 3]) func plansComeIntoForceOneAfterTheOther(worldSize: Int) throws {
        let plans = try [
            plan("tensor-parallel", worldSize: worldSize, revision: 2),
            plan("replicated", worldSize: worldSize, revision: 5),
        ]
        let outcomes = try train(worldSize: worldSize, following: plans, budgetBytes: 1 << 40)
        for outcome in outcomes {
            #expect(outcome.revisions == [1, 1, 2, 5, 5, 5, 5, 5])
            #expect(outcome.refusals.isEmpty)
        }
        let events = outcomes[0].events
        #expect(events.map(\.kind) == [.accepted, .applied, .accepted, .applied])
        #expect(events.map(\.step) == [3, 3, 4, 4])
        #expect(events.map(\.revision) == [2, 2, 5, 5])
        for event in events where event.kind == .applied {
            #expect(event.migration.layers.sorted() == [0, 1, 2])
            #expect((event.migration.totalBytes > 0) == (worldSize > 1))
        }
        expectSameLosses(outcomes, as: try train(worldSize: worldSize, following: []))
    }

    @Test func budgetSpreadsAPlanOverSteps() throws {
        let plans = try [
            plan("tensor-parallel", worldSize: 2, revision: 2), plan("expert-parallel", worldSize: 2, revision: 3),
        ]
        let outcomes = try train(worldSize: 2, following: plans, budgetBytes: 1)
        for outcome in outcomes { #expect(outcome.revisions == [1, 1, 1, 1, 2, 2, 2, 3]) }
        let events = outcomes[0].events
        #expect(
            events.map(\.kind) == [
                .accepted, .switched, .switched, .applied, .accepted, .switched, .switched, .applied,
            ])
        #expect(events.map(\.step) == [3, 3, 4, 5, 6, 6, 7, 8])
        #expect(events.map(\.migration.layers.count) == [0, 1, 1, 3, 0, 1, 1, 3])
        expectSameLosses(outcomes, as: try train(worldSize: 2, following: []))
    }

    /// A step that is skipped ends after its forward pass.
    @Test func layersSwitchAfterAStepThatWasSkipped() throws {
        let plans = try [plan("tensor-parallel", worldSize: 2, revision: 2)]
        let weights = RandomWeights(seed: 3, standardDeviation: .nan)
        for outcome in try train(worldSize: 2, following: plans, budgetBytes: 1, weights: weights) {
            #expect(outcome.losses.allSatisfy { $0.isNaN })
            #expect(outcome.revisions == [1, 1, 1, 1, 2, 2, 2, 2])
        }
    }

    /// Only the last rank sees that the plan is too much for it.
    @Test(arguments: [2, 3]) func oneRankRefusesForAll(worldSize: Int) throws {
        let plans = try [
            plan("replicated", worldSize: worldSize, revision: 2),
            plan("expert-parallel", worldSize: worldSize, revision: 3),
        ]
        // What the replicated plan takes, one byte short.
        let most = PlanMemory.bytes(
            plans[0], hiddenSize: try TrainingFixture.configuration(layers: Self.layers).hiddenSize,
            ownership: .colocated)
        let last = worldSize - 1
        let outcomes = try train(worldSize: worldSize, following: plans) { rank in
            rank == last ? most.map { $0 - 1 } : nil
        }
        for outcome in outcomes {
            #expect(outcome.refusals.keys.sorted() == [3])
            let reason = outcome.refusals[3] ?? ""
            #expect(reason.hasPrefix("rank \(last): "), "\(reason)")
            #expect(reason.contains("--memory-limit"), "\(reason)")
            #expect(outcome.revisions == [1, 1, 1, 3, 3, 3, 3, 3])
        }
        let events = outcomes[0].events
        #expect(events.map(\.revision) == [2, 3, 3])
        #expect(events.map(\.step) == [3, 4, 4])
        #expect(events.first?.kind == .rejected(reason: outcomes[0].refusals[3] ?? ""))
        expectSameLosses(outcomes, as: try train(worldSize: worldSize, following: []))
    }

    @Test func planForOtherRanksIsRefused() throws {
        let outcomes = try train(
            worldSize: 2,
            following: [plan("replicated", worldSize: 3, revision: 2), plan("replicated", worldSize: 2, revision: 3)])
        for outcome in outcomes {
            #expect(outcome.refusals.keys.sorted() == [3])
            #expect(outcome.refusals[3]?.hasPrefix("rank 0: ") == true)
            #expect(outcome.revisions.last == 3)
        }
    }
}
