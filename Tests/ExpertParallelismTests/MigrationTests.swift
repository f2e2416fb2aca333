import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import PlacementInvariance
import Synchronization
import Tensors
import TestSupport
import Testing

/// Experts move with their optimizer state, and nothing of it changes.
@Suite struct MigrationTests {
    /// Two steps, then one plan after the other, each reached in small pieces.
    @Test(arguments: 1...16, OwnershipPolicy.allCases)
    func nothingIsLostOrChanged(worldSize: Int, ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("migrations on \(worldSize) ranks, \(ownership)")
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
        let seed = TestRuns.seed("\(world.size) ranks that train, \(ownership)")
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
                + "other experts than one process from the same weights, \(record.roundedGradients) gradients were held to "
                + "what rounding does; free-running \(record.flips(from: alone)) of "
                + "\(alone.choices.count) choices differ")
        #expect(record.comparedSteps + record.flippedSteps == training.steps)
        #expect(record.flippedSteps <= 2)
        // Of all gradients of all steps; none or one in most runs.
        #expect(record.roundedGradients <= 5)
        try record.checkLosses(against: reference, tolerance: 1e-3)
    }

    /// One layer on this rank, with its optimizer.
    private func layer(
        _ block: BlockCase, on communicator: any Communicator, plan: PlacementPlan, ownership: OwnershipPolicy
    ) throws -> MoEOptimizer {
        let context = ExpertParallelContext(communicator: communicator)
        let module = block.block()
        try parallelizeExperts(
            in: module, matching: "experts", allocator: StaticAllocator(.replicated),
            dispatcher: RandomDispatcher(seed: 1),
            configuration: ParallelConfiguration(
                layers: 1, expertsPerLayer: .perLayer([block.widths.count]), context: context, plan: plan))
        try module.loadWeights(from: block.weights)
        return MoEOptimizer(model: module, context: context, ownership: ownership)
    }

    /// What passes through the communicator is what the migration says, not a byte more.
    @Test(arguments: OwnershipPolicy.allCases) func noOtherBytesMove(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("bytes of migrations, \(ownership)")
        var plans = RandomPlan(seed: seed)
        let block = BlockCase()
        for worldSize in 1...5 {
            for chunkBytes in [1, 500, 1 << 20] {
                let plan = try plans.plan(for: block.model, worldSize: worldSize)
                let next = try plans.plan(for: block.model, worldSize: worldSize)
                let bytes = try ThreadCommunicator.run(worldSize: worldSize) { group in
                    let counter = CountingCommunicator(group)
                    let optimizer = try layer(block, on: counter, plan: plan, ownership: ownership)
                    // The first change brings masters to decoupled owners.
                    try optimizer.apply(plan)
                    let before = counter.bytesSent
                    let report = try optimizer.apply(next, chunkBytes: chunkBytes)
                    let there = counter.bytesSent
                    let again = try optimizer.apply(next)
                    return [there - before, report.sentBytes, counter.bytesSent - there, again.totalBytes]
                }
                let expected = try Migration(from: plan, to: next, ownership: ownership).layers[0]
                for (rank, bytes) in bytes.enumerated() {
                    let sent = expected.bytesSent(by: rank, hiddenSize: block.hiddenSize)
                    #expect(bytes == [sent, sent, 0, 0], "rank \(rank) of \(worldSize), seed \(seed)")
                }
            }
        }
    }

    /// Gradients of large experts travel in pieces; weights and the first masters go to where they belong.
    @Test(arguments: OwnershipPolicy.allCases) func exchangesTakeLittleMemory(ownership: OwnershipPolicy) throws {
        var block = BlockCase()
        block.hiddenSize = 64
        block.widths = [12_000, 7]
        let final = block
        let plan = try PlacementPlan(
            worldSize: 2,
            layers: [
                LayerPlacement(
                    experts: try block.widths.map {
                        try ExpertPlacement(
                            width: $0, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 1, ranks: [0, 1]))
                    })
            ])
        let outcomes = try ThreadCommunicator.run(worldSize: 2) { group in
            let counter = CountingCommunicator(group)
            let optimizer = try layer(final, on: counter, plan: plan, ownership: ownership)
            optimizer.zeroGradients()
            func peak(_ body: () throws -> Void) throws -> Int {
                try group.barrier()
                let before = StoragePool.shared.use.bytes
                if group.rank == 0 { StoragePool.shared.resetPeak() }
                try group.barrier()
                try body()
                try group.barrier()
                return StoragePool.shared.use.peakBytes - before
            }
            let reduction = try peak { _ = try optimizer.reduceGradients() }
            let step = try peak { try optimizer.step(AdamW.Configuration(learningRate: 1e-3)) }
            return [reduction, step, counter.bytesSent]
        }
        for bytes in outcomes {
            // A piece for each of the two ranks, and what the router takes.
            #expect((5 << 20...8 << 20 + 10_000).contains(bytes[0]))
            #expect(bytes[1] == 0)
            #expect(bytes[2] > 12_000 * 64 * 12)
        }
    }

    /// Of both ranks, which are threads of this process.
    private static func residentBytes() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return try #require(Int(fields[1])) * sysconf(Int32(_SC_PAGESIZE))
    }

    /// Whole experts and shards of them are blocks of other sizes: what the ones leave is of no use to the others.
    @Test func memoryThatExpertsLeaveIsGivenBack() throws {
        var block = BlockCase()
        block.hiddenSize = 64
        block.widths = [12_288, 12_288]
        let final = block
        // Four matrices of each, of 9 MB.
        let stateBytes = 2 * 4 * 12_288 * 64 * 12
        func plan(_ allocator: String) throws -> PlacementPlan {
            var allocator = try Allocators.make(named: allocator)
            return try #require(
                try allocator.allocateExperts(
                    current: nil, model: final.model, cluster: Cluster(worldSize: 2), step: 0))
        }
        let (whole, shards) = (try plan("expert-parallel"), try plan("tensor-parallel"))
        let growth = try ThreadCommunicator.run(worldSize: 2) { group in
            func move(to plans: [PlacementPlan], _ optimizer: MoEOptimizer, then check: () throws -> Void = {}) throws {
                for plan in plans {
                    var change = try PlacementSwitch(to: plan, optimizer: optimizer, hiddenSize: 64)
                    while !change.isComplete { _ = try change.advance(optimizer) }
                    try group.barrier()
                    try check()
                    try group.barrier()
                }
            }
            // The C library keeps what messages between threads have taken: others do so first.
            try move(to: [shards, whole], layer(final, on: group, plan: whole, ownership: .colocated))
            StoragePool.shared.trim(to: 0)
            let optimizer = try layer(final, on: group, plan: whole, ownership: .colocated)
            try group.barrier()
            let before = try Self.residentBytes()
            var growth = [Int]()
            try move(to: [shards, whole, shards, whole], optimizer) { growth.append(try Self.residentBytes() - before) }
            return growth
        }
        print("resident bytes above the \(stateBytes) of the state: \(growth[0])")
        #expect(growth[0].allSatisfy { $0 < stateBytes / 2 }, "\(growth[0])")
    }

    /// A rank that fails in the middle of a migration, at each of its exchanges, ends the others.
    @Test(arguments: OwnershipPolicy.allCases) func anExchangeThatFailsOnOneRank(ownership: OwnershipPolicy) throws {
        struct Broken: Error {}
        let block = BlockCase()
        var plans = RandomPlan(seed: 6)
        let (plan, next) = (
            try plans.plan(for: block.model, worldSize: 3), try plans.plan(for: block.model, worldSize: 3)
        )
        let limit = 200
        var failures = 0
        for exchange in 0..<limit {
            let ended = Mutex(0)
            do {
                _ = try ThreadCommunicator.run(worldSize: 3) { group in
                    let communicator: any Communicator =
                        group.rank == 1 ? FailingCommunicator(group, atExchange: exchange, error: Broken()) : group
                    do {
                        try layer(block, on: communicator, plan: plan, ownership: ownership).apply(
                            next, chunkBytes: 500)
                        try communicator.barrier()
                    } catch {
                        ended.withLock { $0 += 1 }
                        throw error
                    }
                }
                break
            } catch is Broken {
                failures += 1
                #expect(ended.withLock { $0 } == 3, "exchange \(exchange)")
            }
        }
        #expect((4..<limit).contains(failures), "a migration has \(failures) exchanges")
    }

    /// A bit that changes on its way is found, on every rank, before the old copy is gone.
    @Test func aChangedBitIsFound() throws {
        let block = BlockCase()
        func plan(_ rank: Int) throws -> PlacementPlan {
            try PlacementPlan(
                worldSize: 3,
                layers: [
                    LayerPlacement(
                        experts: try block.widths.map {
                            try ExpertPlacement(
                                width: $0, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [rank]))
                        })
                ])
        }
        let (here, there) = (try plan(0), try plan(2))
        // Experts of 3, 7, 1 and 5 neurons move from rank 0 to rank 2, 24 entries a neuron.
        let errors = try ThreadCommunicator.run(worldSize: 3) { group in
            let corrupting = CorruptingCommunicator(group, entry: group.rank == 2 ? 4 * 24 + 5 : nil)
            let optimizer = try layer(block, on: corrupting, plan: here, ownership: .colocated)
            do {
                try optimizer.apply(there)
                return MigrationError?.none
            } catch let error as MigrationError {
                return error
            }
        }
        let transfer = NeuronTransfer(expert: 0, neurons: 0..<3, source: 0, destination: 2)
        let expected = MigrationError.checksum(layer: 0, part: .firstMoment, transfer: transfer)
        #expect(errors == [expected, expected, expected])
        #expect("\(expected)".contains("layer 0, expert 0: the first moments of neurons 0..<3"))
    }

    @Test func aPlanThatDoesNotFitMovesNothing() throws {
        let block = BlockCase()
        var plans = RandomPlan(seed: 2)
        let plan = try plans.plan(for: block.model, worldSize: 2)
        let others = [
            try plans.plan(for: block.model, worldSize: 3),
            try plans.plan(for: ExpertModel(hiddenSize: 8, layers: [[3, 7, 1, 6]]), worldSize: 2),
            try plans.plan(for: ExpertModel(hiddenSize: 8, layers: [[3], [7]]), worldSize: 2),
        ]
        let refusals = try ThreadCommunicator.run(worldSize: 2) { group in
            let optimizer = try layer(block, on: group, plan: plan, ownership: .colocated)
            return others.count { other in
                do {
                    try optimizer.apply(other)
                    return false
                } catch {
                    return error is PlacementError && optimizer.placements == plan.layers
                }
            }
        }
        #expect(refusals == [3, 3])
    }
}
