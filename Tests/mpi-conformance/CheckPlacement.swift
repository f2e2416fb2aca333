import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Layers
import MPIMessagePassing
import Mixtral
import PlacementInvariance

/// Training steps over MPI give what one process gives that holds all experts, under every allocator and random plans.
func checkPlacement(_ world: MPICommunicator, seed: UInt64) throws {
    var plans = RandomPlan(seed: seed)
    var cases = 0
    for microBatches in 1...2 {
        var training = InvarianceCase()
        training.microBatches = microBatches
        let reference = world.rank == 0 ? try training.reference() : nil
        var candidates = try ["tensor-parallel", "expert-parallel", "replicated", "dp=1,tp=2", "dp=2,tp=1"].map {
            ($0, try training.plan(allocator: $0, worldSize: world.size))
        }
        for round in 0..<6 {
            let plan = try plans.plan(for: training.expertModel, worldSize: world.size)
            candidates.append(("random plan \(round)", plan))
        }
        for (name, plan) in candidates {
            for dispatcher in TokenDispatchers.names {
                let record = try training.run(
                    on: world, plan: plan, dispatcher: try TokenDispatchers.make(named: dispatcher, seed: seed))
                do {
                    if let reference { try record.check(against: reference, tolerance: 1e-5) }
                } catch {
                    throw ConformanceFailure(
                        description: "\(name), \(dispatcher), \(microBatches) micro-batches (seed \(seed)): \(error)")
                }
                cases += 1
            }
        }
    }
    try checkMeshes(world, seed: seed)
    try checkModelTypes(world, seed: seed)
    try checkTwentySteps(world, seed: seed)
    try checkOverlap(world, seed: seed)
    if world.rank == 0 { print("passed: \(cases) placements on \(world.size) ranks") }
}

/// So do steps whose attention is spread over the ranks, on every mesh of them.
private func checkMeshes(_ world: MPICommunicator, seed: UInt64) throws {
    var plans = RandomPlan(seed: seed)
    for keyValueHeads in [1, 2, 4] {
        var training = InvarianceCase()
        training.keyValueHeads = keyValueHeads
        let reference = world.rank == 0 ? try training.reference() : nil
        for tensorParallel in 2...4 where world.size % tensorParallel == 0 {
            training.tensorParallel = tensorParallel
            for recomputation in Recomputation.allCases {
                training.recomputation = recomputation
                try check(
                    training, against: reference, &plans, world, seed: seed,
                    "groups of \(tensorParallel), \(keyValueHeads) key-value heads, recomputed: \(recomputation)")
            }
        }
    }
}

/// So do models with dense layers, shared experts, biases, norms of queries and keys, and experts of several widths.
private func checkModelTypes(_ world: MPICommunicator, seed: UInt64) throws {
    var qwen = InvarianceCase()
    qwen.modelType = .qwen2MoE
    qwen.layers = 3
    qwen.denseLayers = [1]
    qwen.sharedExpertWidth = 5
    qwen.hasAttentionBiases = true
    qwen.tiesEmbeddings = true
    qwen.widths = .perExpert([[1, 5, 3, 11], [2, 2, 13, 4]])
    var dots = InvarianceCase()
    dots.modelType = .dots1
    dots.denseLayers = [0]
    dots.sharedExpertWidth = 24
    dots.hasAttentionBiases = true
    dots.routing.score = .sigmoid
    dots.routing.biasUpdateRate = 0.02
    var olmoe = InvarianceCase()
    olmoe.modelType = .olmoe
    olmoe.keyValueHeads = 2
    olmoe.hasAttentionBiases = true
    var plans = RandomPlan(seed: seed)
    for var training in [qwen, dots, olmoe] {
        let reference = world.rank == 0 ? try training.reference() : nil
        for tensorParallel in 1...4 where world.size % tensorParallel == 0 {
            training.tensorParallel = tensorParallel
            try check(
                training, against: reference, &plans, world, seed: seed,
                "\(training.modelType), groups of \(tensorParallel)")
        }
    }
}

/// One case under the next random plan.
/// - Parameters:
///   - reference: of one process, on rank 0.
///   - name: of the case, for a failure.
private func check(
    _ training: InvarianceCase, against reference: TrainingRecord?, _ plans: inout RandomPlan, _ world: MPICommunicator,
    seed: UInt64, _ name: String
) throws {
    let record = try training.run(
        on: world, plan: try plans.plan(for: training.expertModel, worldSize: world.size),
        dispatcher: RandomDispatcher(seed: seed))
    do {
        if let reference { try record.check(against: reference, tolerance: 1e-5) }
    } catch {
        throw ConformanceFailure(description: "\(name) (seed \(seed)): \(error)")
    }
}

/// Updates reach all ranks: later losses agree too.
private func checkTwentySteps(_ world: MPICommunicator, seed: UInt64) throws {
    var training = InvarianceCase()
    training.steps = 20
    let dispatcher = RandomDispatcher(seed: seed)
    for allocator in ["tensor-parallel", "replicated"] {
        let plan = try training.plan(allocator: allocator, worldSize: world.size)
        let record = try training.run(on: world, plan: plan, dispatcher: dispatcher)
        if world.rank == 0 {
            try record.checkLosses(against: try training.reference(), tolerance: 1e-3)
        }
    }
}

/// What travels while ranks compute changes no bit, also of steps between which experts move.
private func checkOverlap(_ world: MPICommunicator, seed: UInt64) throws {
    var training = InvarianceCase()
    training.steps = 16
    // Messages that do not arrive before somebody waits for them.
    training.width = 200
    training.microBatches = 2
    for ownership in OwnershipPolicy.allCases {
        training.ownership = ownership
        func record(_ overlap: Overlap) throws -> TrainingRecord {
            training.overlap = overlap
            return try training.run(
                on: world, plan: try training.plan(allocator: "replicated", worldSize: world.size),
                dispatcher: RandomDispatcher(seed: seed),
                moves: ExpertMoves(
                    model: training.expertModel, seed: seed, interval: 2, budgetBytes: 20_000, comparesState: false))
        }
        let apart = try record([])
        for value in 1..<8 {
            let overlap = Overlap(rawValue: value)
            guard try record(overlap).isExactly(apart) else {
                throw ConformanceFailure(
                    description: "overlap \(overlap.text), \(ownership) (seed \(seed)): not the numbers of overlap none"
                )
            }
        }
    }
}
