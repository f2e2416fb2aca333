import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import PlacementInvariance
import TestSupport
import Testing

/// Whatever the routing, results are those of one process with all tokens and experts.
@Suite struct RoutingInvarianceTests {
    struct Variant: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let training: InvarianceCase

        init(_ name: String, _ change: (inout InvarianceCase) -> Void) {
            var training = InvarianceCase()
            training.experts = 6
            training.width = 7
            change(&training)
            (testDescription, self.training) = (name, training)
        }
    }

    static let variants = [
        Variant("not renormalised") { $0.routing.renormalizes = false },
        Variant("softmax of the selected") { $0.routing.softmaxIsOfSelected = true },
        Variant("sigmoid with biases, groups and a factor, balanced by sequence") {
            $0.routing.score = .sigmoid
            $0.routing.biasUpdateRate = 0.02
            $0.routing.groups = RoutingPolicy.Groups(count: 3, perToken: 2)
            $0.routing.scalingFactor = 2.5
            $0.routing.balancesSequences = true
        },
        Variant("groups and z-loss") {
            $0.routing.groups = RoutingPolicy.Groups(count: 3, perToken: 1)
            $0.routing.zLossCoefficient = 0.01
        },
        Variant("balanced by sequence, z-loss") {
            $0.routing.balancesSequences = true
            $0.routing.zLossCoefficient = 0.01
        },
        Variant("jitter") { $0.routing.jitter = 0.2 },
        Variant("expert choice") {
            $0.routing.selection = .expertChoice
            $0.routing.renormalizes = false
            $0.routing.zLossCoefficient = 0.01
        },
        Variant("expert choice by sigmoids") {
            $0.expertsPerToken = 1
            $0.routing.selection = .expertChoice
            $0.routing.renormalizes = false
            $0.routing.score = .sigmoid
        },
        Variant("dropped by position") { $0.capacity = ExpertCapacity(factor: 1) },
        Variant("dropped by score") { $0.capacity = ExpertCapacity(factor: 0.9, dropPolicy: .score) },
        Variant("dropped by score, padded") {
            $0.capacity = ExpertCapacity(factor: 0.9, dropPolicy: .score, pads: true)
        },
        Variant("nearly all dropped") { $0.capacity = ExpertCapacity(factor: 0.2, pads: true) },
    ]

    @Test(arguments: variants, 1...4) func oneStepIsThatOfOneProcess(variant: Variant, worldSize: Int) throws {
        let seed = TestRuns.seed("\(variant.testDescription) on \(worldSize) ranks")
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

    /// Biases follow the global loads: later steps are those of one process as well.
    @Test(arguments: 2...4) func biasesAreThoseOfOneProcess(worldSize: Int) throws {
        var training = Self.variants[2].training
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
        var training = Self.variants[9].training
        let plan = try training.plan(allocator: "expert-parallel", worldSize: worldSize)
        let without = try run(training, plan)
        training.capacity?.pads = true
        let with = try run(training, plan)
        try with.check(against: without, tolerance: 1e-6)
        #expect(with.bytesSent == without.bytesSent && with.droppedTokens == without.droppedTokens)
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
