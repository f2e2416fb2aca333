import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Layers
import MPIMessagePassing
import MessagePassing
import PlacementInvariance
import Tensors

/// Experts move over MPI while they train, at random and every three steps; steps stay those of one process.
func checkMigration(_ world: MPICommunicator, seed: UInt64) throws {
    var training = InvarianceCase()
    training.steps = 60
    let reference = world.rank == 0 ? try training.reference() : nil
    let alone =
        world.rank == 0
        ? try training.run(
            on: ThreadCommunicator(), plan: try training.plan(allocator: "replicated", worldSize: 1),
            dispatcher: RandomDispatcher(seed: seed)) : nil
    let plan = try training.plan(allocator: "tensor-parallel", worldSize: world.size)
    for ownership in OwnershipPolicy.allCases {
        training.ownership = ownership
        let moves = ExpertMoves(
            model: training.expertModel, seed: seed, interval: 3, budgetBytes: 20_000, comparesSteps: true,
            chunkBytes: 2_000)
        do {
            let record = try training.run(
                on: world, plan: plan, dispatcher: RandomDispatcher(seed: seed), moves: moves)
            guard let reference, let alone else { continue }
            guard record.flippedSteps <= 2, record.comparedSteps + record.flippedSteps == training.steps else {
                throw ConformanceFailure(description: "\(record.flippedSteps) steps chose other experts")
            }
            try record.checkLosses(against: reference, tolerance: 1e-3)
            print(
                "\(ownership): \(record.migration.layers.count) layers switched, \(record.migration.totalBytes) bytes "
                    + "moved; \(record.flippedSteps) of \(training.steps) steps chose other experts than one process from "
                    + "the same weights; free-running \(record.flips(from: alone)) of \(alone.choices.count) differ")
        } catch {
            throw ConformanceFailure(description: "\(ownership) (seed \(seed)): \(error)")
        }
    }
    try checkMemory(world, seed: seed)
    if world.rank == 0 { print("passed: migration on \(world.size) ranks") }
}

/// Tensors of a process, which is one rank here, take at most what the migration says.
private func checkMemory(_ world: MPICommunicator, seed: UInt64) throws {
    let (hiddenSize, widths) = (16, [40, 64, 96, 33, 50, 70])
    var plans = RandomPlan(seed: seed)
    let model = ExpertModel(hiddenSize: hiddenSize, layers: [widths])
    for ownership in OwnershipPolicy.allCases {
        for chunkBytes in [1, 5_000, 1 << 20] {
            let context = ExpertParallelContext(communicator: world)
            let block = SparseMoEBlock(
                gate: Router(hiddenSize: hiddenSize, expertCount: widths.count, expertsPerToken: 1),
                experts: LocalExperts(hiddenSize: hiddenSize, widths: widths))
            let plan = try plans.plan(for: model, worldSize: world.size)
            try parallelizeExperts(
                in: block, matching: "experts", allocator: StaticAllocator(.replicated),
                dispatcher: RandomDispatcher(seed: seed),
                configuration: ParallelConfiguration(
                    layers: 1, expertsPerLayer: .uniform(widths.count), context: context, plan: plan))
            let optimizer = MoEOptimizer(model: block, context: context, ownership: ownership)
            try optimizer.apply(plan)
            for _ in 0..<10 {
                let next = try plans.plan(for: model, worldSize: world.size)
                let migration = try optimizer.migration(to: next).layers[0]
                func state(_ placement: LayerPlacement) -> Int {
                    placement.experts.indices.reduce(0) { sum, expert in
                        let ranges = placement.stateRanges(
                            of: expert, rank: world.rank, ownership, layer: 0, worldSize: world.size)
                        return sum + 2 * ranges.weights.reduce(ranges.owned.count) { $0 + $1.count }
                    } * LayerMigration.neuronBytes(hiddenSize: hiddenSize)
                }
                let others = StoragePool.shared.use.bytes - state(migration.source)
                StoragePool.shared.resetPeak()
                try optimizer.apply(next, chunkBytes: chunkBytes)
                let use = StoragePool.shared.use
                let stated = migration.peakBytes(of: world.rank, hiddenSize: hiddenSize, chunkBytes: chunkBytes)
                guard use.peakBytes - others == stated, use.bytes - others == state(next.layers[0]) else {
                    throw ConformanceFailure(
                        description:
                            "\(ownership), chunks of \(chunkBytes) (seed \(seed)): \(stated) bytes were stated, "
                            + "\(use.peakBytes - others) taken; \(use.bytes - others) are left of "
                            + "\(state(next.layers[0]))")
                }
            }
        }
    }
}
