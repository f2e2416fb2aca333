import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import PlacementInvariance
import Testing

/// Experts move with their optimizer state, and nothing of it changes.
@Suite struct MigrationTests {
    /// Two steps, then one plan after the other, each reached in small pieces.
    @Test(arguments: 1...16, OwnershipPolicy.allCases)
    func nothingIsLostOrChanged(worldSize: Int, ownership: OwnershipPolicy) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("migrations on \(worldSize) ranks, \(ownership): seed \(seed)")
        var plans = RandomPlan(seed: seed)
        var training = InvarianceCase()
        training.ownership = ownership
        training.sequences = worldSize
        training.sequenceLength = 2
        training.width = 1 + plans.next(below: 20)
        training.experts = 3
        training.steps = 5
        let plan = try plans.plan(for: training.expertModel, worldSize: worldSize)
        let moves = ExpertMoves(
            model: training.expertModel, seed: seed, interval: 1, chunkBytes: 1 + plans.next(below: 2_000))
        let final = training
        let records = try ThreadCommunicator.run(worldSize: worldSize) {
            try final.run(on: $0, plan: plan, dispatcher: RandomDispatcher(seed: seed), moves: moves)
        }
        #expect(records[0].migration.layers.count == 4 * final.layers)
        #expect(records.reduce(0) { $0 + $1.migration.sentBytes } == records[0].migration.totalBytes)
    }

    /// The run that never rests: new places for all experts every three steps, layers one by one in half of the runs.
    @Test(arguments: [(1, nil), (2, nil), (3, 20_000), (4, nil), (4, 1)] as [(Int, Int?)], OwnershipPolicy.allCases)
    func sixtyStepsUnderFire(world: (size: Int, budgetBytes: Int?), ownership: OwnershipPolicy) throws {
        let seed = UInt64.random(in: 0 ... .max)
        var training = InvarianceCase()
        training.steps = 60
        training.ownership = ownership
        let reference = try training.reference()
        let alone = try training.run(
            on: ThreadCommunicator(), plan: try training.plan(allocator: "replicated", worldSize: 1),
            dispatcher: RandomDispatcher(seed: seed))
        let moves = ExpertMoves(
            model: training.expertModel, seed: seed, interval: 3, budgetBytes: world.budgetBytes, comparesSteps: true,
            chunkBytes: 1_000)
        let plan = try training.plan(allocator: "tensor-parallel", worldSize: world.size)
        let final = training
        let record = try ThreadCommunicator.run(worldSize: world.size) {
            try final.run(on: $0, plan: plan, dispatcher: RandomDispatcher(seed: seed), moves: moves)
        }[0]
        print(
            "\(world.size) ranks, \(ownership), seed \(seed): \(record.migration.layers.count) layers switched, "
                + "\(record.migration.totalBytes) bytes moved; \(record.flippedSteps) of \(record.losses.count) steps chose "
                + "other experts than one process from the same weights; free-running \(record.flips(from: alone)) of "
                + "\(alone.choices.count) choices differ")
        #expect(record.comparedSteps + record.flippedSteps == training.steps)
        #expect(record.flippedSteps <= 2)
        try record.checkLosses(against: reference, tolerance: 1e-3)
    }
}
