import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import PlacementInvariance
import TestSupport
import Testing

/// Whatever the routing, results are those of one process with all tokens and experts.
@Suite struct RoutingInvarianceTests {
    @Test(arguments: RoutingVariant.all, 1...4)
    func oneStepIsThatOfOneProcess(variant: RoutingVariant, worldSize: Int) throws {
        let seed = TestRuns.seed("\(variant) on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for microBatches in 1...2 {
            var training = variant.training
            training.microBatches = microBatches
            let reference = try training.reference()
            if training.capacity != nil { #expect(reference.droppedTokens[0] > 0, "nothing is dropped") }
            for allocator in ["tensor-parallel", "expert-parallel", "replicated"] {
                try check(
                    training, reference, try training.plan(allocator: allocator, worldSize: worldSize), allocator)
            }
            for round in 0..<TestRuns.count(4, soak: 40) {
                training.overlap = Overlap(rawValue: round % 8)
                let plan = try plans.plan(for: training.expertModel, worldSize: worldSize)
                try check(training, reference, plan, "round \(round), seed \(seed)")
            }
        }
    }

    /// Tokens, and what routers say of them, are spread over the ranks that share attention, also those of a sequence that is balanced.
    @Test(arguments: RoutingVariant.all, [(2, 2), (3, 3), (4, 2)])
    func oneStepOnAMeshIsThatOfOneProcess(variant: RoutingVariant, ranks: (worldSize: Int, tensorParallel: Int)) throws
    {
        let seed = TestRuns.seed("\(variant) on \(ranks)")
        var plans = RandomPlan(seed: seed)
        for microBatches in 1...2 {
            var training = variant.training
            training.microBatches = microBatches
            let reference = try training.reference()
            training.tensorParallel = ranks.tensorParallel
            for recomputation in [Recomputation.none, .full] {
                training.recomputation = recomputation
                let plan = try plans.plan(for: training.expertModel, worldSize: ranks.worldSize)
                try check(
                    training, reference, plan, "groups of \(ranks.tensorParallel), \(recomputation), seed \(seed)")
            }
        }
    }

    /// Biases follow the global loads: later steps are those of one process as well.
    @Test(arguments: 2...4) func biasesAreThoseOfOneProcess(worldSize: Int) throws {
        var training = RoutingVariant.biases.training
        training.steps = 8
        let reference = try training.reference()
        let name = "model.layers.1.block_sparse_moe.gate.e_score_correction_bias"
        let bias = try #require(reference.weights[name])
        var untrained = training
        untrained.routing.biasUpdateRate = 0
        #expect(try untrained.reference().weights[name] != bias)
        let record = try run(training, try training.plan(allocator: "expert-parallel", worldSize: worldSize))
        try record.checkLosses(against: reference, tolerance: 1e-3)
        #expect(record.weights[name] == bias)
    }

    /// Zeros that fill up experts change no result, and shapes are the capacity's.
    @Test(arguments: 1...3) func paddingChangesNothing(worldSize: Int) throws {
        var training = RoutingVariant.droppedByScore.training
        let plan = try training.plan(allocator: "expert-parallel", worldSize: worldSize)
        let without = try run(training, plan)
        training.capacity?.pads = true
        let with = try run(training, plan)
        try with.check(against: without, tolerance: 1e-6)
        #expect(with.bytesSent == without.bytesSent && with.droppedTokens == without.droppedTokens)
        // Of 30 tokens with 2 experts each, an expert of 6 takes 0.9 · 10; a rank has as many experts of both layers as another.
        #expect(with.rows == 2 * 6 / worldSize * 9 && without.rows < with.rows)
    }

    private func check(
        _ training: InvarianceCase, _ reference: TrainingRecord, _ plan: PlacementPlan, _ what: String
    ) throws {
        do {
            try run(training, plan).check(against: reference, tolerance: 1e-5)
        } catch {
            Issue.record("\(plan.worldSize) ranks, \(training.microBatches) micro-batches, \(what): \(error)")
        }
    }

    /// What rank 0 found.
    private func run(_ training: InvarianceCase, _ plan: PlacementPlan) throws -> TrainingRecord {
        try ThreadCommunicator.run(worldSize: plan.worldSize) {
            try training.run(on: $0, plan: plan, dispatcher: WeightedDispatcher(seed: 11))
        }[0]
    }
}
