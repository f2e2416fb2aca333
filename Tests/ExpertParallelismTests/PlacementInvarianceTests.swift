import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import PlacementInvariance
import TestSupport
import Testing

/// The law of the data plane: results are those of one process with all experts, wherever they are.
@Suite struct PlacementInvarianceTests {
    static let tolerance = 1e-5

    /// Every allocator that fits a world of `worldSize`, and experts of so many neurons.
    static func allocators(worldSize: Int, width: Int = .max) -> [String] {
        var names = ["tensor-parallel", "expert-parallel", "replicated"]
        for replicas in 1...worldSize {
            for shards in 1...min(worldSize / replicas, width) { names.append("dp=\(replicas),tp=\(shards)") }
        }
        return names
    }

    @Test(arguments: 1...4, 1...2)
    func oneStepIsThatOfOneProcess(worldSize: Int, microBatches: Int) throws {
        var training = InvarianceCase()
        training.microBatches = microBatches
        let reference = try training.reference()
        for allocator in Self.allocators(worldSize: worldSize) {
            let plan = try training.plan(allocator: allocator, worldSize: worldSize)
            for dispatcher in TokenDispatchers.names {
                try check(training, reference, plan, dispatcher: dispatcher, "\(allocator), \(dispatcher)")
            }
        }
    }

    @Test(arguments: 1...4)
    func oneStepUnderRandomPlansIsThatOfOneProcess(worldSize: Int) throws {
        let seed = TestRuns.seed("random plans for \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for microBatches in 1...2 {
            var training = InvarianceCase()
            training.microBatches = microBatches
            training.width = 7
            training.experts = 5
            let reference = try training.reference()
            for round in 0..<12 {
                let plan = try plans.plan(for: training.expertModel, worldSize: worldSize)
                training.overlap = Overlap(rawValue: round % 8)
                for dispatcher in TokenDispatchers.names {
                    try check(
                        training, reference, plan, dispatcher: dispatcher,
                        "round \(round), overlap \(training.overlap.text), seed \(seed)")
                }
            }
        }
    }

    /// Fewer experts, neurons or sequences than ranks; experts that get no row; ranks that have no expert.
    @Test func smallerThanTheWorld() throws {
        for (experts, expertsPerToken, width, sequences) in [(2, 1, 5, 4), (3, 2, 2, 5), (6, 1, 1, 2), (1, 1, 3, 1)] {
            var training = InvarianceCase()
            training.experts = experts
            training.expertsPerToken = expertsPerToken
            training.width = width
            training.sequences = sequences
            training.sequenceLength = 3
            let reference = try training.reference()
            for worldSize in [2, 4] {
                for allocator in Self.allocators(worldSize: worldSize, width: width) {
                    let plan = try training.plan(allocator: allocator, worldSize: worldSize)
                    try check(
                        training, reference, plan, dispatcher: "random",
                        "\(experts) experts of \(width), \(sequences) sequences, \(allocator)")
                }
            }
        }
    }

    @Test func anExpertWithoutRowsHasNoGradient() throws {
        var training = InvarianceCase()
        training.experts = 12
        training.expertsPerToken = 1
        training.sequences = 2
        training.sequenceLength = 3
        let reference = try training.reference()
        let loads = reference.expertLoads[0][0]
        let idle = try #require(loads.firstIndex(of: 0))
        let name = "model.layers.0.block_sparse_moe.experts.\(idle).w2.weight"
        for allocator in ["tensor-parallel", "expert-parallel", "replicated"] {
            let plan = try training.plan(allocator: allocator, worldSize: 3)
            let record = try check(training, reference, plan, dispatcher: "random", allocator)
            #expect(record.gradients[name]?.allSatisfy { $0 == 0 } == true)
        }
    }

    @Test(arguments: ["tensor-parallel", "expert-parallel", "replicated", "dp=2,tp=2"])
    func twentyStepsAreThoseOfOneProcess(allocator: String) throws {
        var training = InvarianceCase()
        training.steps = 20
        let reference = try training.reference()
        let alone = try run(training, try training.plan(allocator: "replicated", worldSize: 1), dispatcher: "random")
        #expect(reference.losses[19] < reference.losses[0])
        for worldSize in 1...4 where Self.allocators(worldSize: worldSize).contains(allocator) {
            let plan = try training.plan(allocator: allocator, worldSize: worldSize)
            let record = try run(training, plan, dispatcher: "random")
            print(
                "\(allocator), \(worldSize) ranks: \(record.flips(from: alone)) of \(alone.choices.count) choices of an "
                    + "expert differ from one process's in \(training.steps) steps")
            try record.checkLosses(against: reference, tolerance: 1e-3)
        }
    }

    /// What backward computes again is what forward had: no bit differs, and rows are counted once.
    @Test(arguments: Recomputation.allCases.dropFirst(), 1...3)
    func recomputationChangesNothing(recomputation: Recomputation, worldSize: Int) throws {
        let seed = TestRuns.seed("random plans for \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for (round, dispatcher) in TokenDispatchers.names.enumerated() {
            var training = InvarianceCase()
            training.microBatches = 1 + round % 2
            training.steps = 3
            training.overlap = Overlap(rawValue: 7 - round)
            let plan = try plans.plan(for: training.expertModel, worldSize: worldSize)
            let kept = try run(training, plan, dispatcher: dispatcher)
            training.recomputation = recomputation
            let again = try run(training, plan, dispatcher: dispatcher)
            #expect(again.isExactly(kept), "\(dispatcher), seed \(seed)")
            #expect(again.rows == kept.rows, "\(dispatcher), seed \(seed)")
            if worldSize > 1 { #expect((again.bytesSent > kept.bytesSent) == recomputation.coversExperts) }
        }
    }

    /// In one process, where the experts are in the model itself.
    @Test(arguments: Recomputation.allCases.dropFirst())
    func recomputationChangesNothingInOneProcess(recomputation: Recomputation) throws {
        var training = InvarianceCase()
        training.steps = 3
        training.microBatches = 3
        let kept = try training.reference()
        training.recomputation = recomputation
        #expect(try training.reference().isExactly(kept))
    }

    /// Everything that a step reports counts (token, expert) pairs once, before dispatch.
    @Test func loadsDoNotDependOnThePlan() throws {
        let training = InvarianceCase()
        let reference = try training.reference()
        let pairs = training.sequences * training.sequenceLength * training.expertsPerToken
        #expect(reference.expertLoads == [reference.expertLoads[0]])
        #expect(reference.expertLoads[0].allSatisfy { $0.reduce(0, +) == pairs })
        for allocator in ["tensor-parallel", "expert-parallel", "replicated"] {
            let plan = try training.plan(allocator: allocator, worldSize: 3)
            #expect(try run(training, plan, dispatcher: "random").expertLoads == reference.expertLoads)
        }
    }

    @discardableResult
    private func check(
        _ training: InvarianceCase, _ reference: TrainingRecord, _ plan: PlacementPlan, dispatcher: String,
        _ what: String
    ) throws -> TrainingRecord {
        let record = try run(training, plan, dispatcher: dispatcher)
        do {
            try record.check(against: reference, tolerance: Self.tolerance)
        } catch {
            Issue.record("\(plan.worldSize) ranks, \(training.microBatches) micro-batches, \(what): \(error)")
        }
        return record
    }

    /// What rank 0 found.
    private func run(_ training: InvarianceCase, _ plan: PlacementPlan, dispatcher: String) throws -> TrainingRecord {
        let dispatcher = try TokenDispatchers.make(named: dispatcher, seed: 11)
        return try ThreadCommunicator.run(worldSize: plan.worldSize) {
            try training.run(on: $0, plan: plan, dispatcher: dispatcher)
        }[0]
    }
}
