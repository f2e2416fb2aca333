import AllocationCount
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import TokenData
import WorkerRuntime

/// Training steps whose routing is the same each time: experts get as many tokens each.
struct CountedSteps {
    /// What one step of this rank took, at most.
    struct Taken: Encodable {
        var rank = 0
        /// (token, expert) pairs of this rank and step.
        var routingRows = 0
        /// By the pool of tensors, from the system.
        var poolBytes = 0
        /// Calls of malloc and its relatives, and what they asked for; most of it is given back within the step.
        var mallocCalls = 0
        var mallocBytes = 0
        var largestMallocBytes = 0
        /// By malloc, from the system, in all the steps together.
        var heapBytes = 0

        private enum CodingKeys: String, CodingKey {
            case rank
            case routingRows = "routing_rows"
            case poolBytes = "pool_bytes"
            case mallocCalls = "malloc_calls"
            case mallocBytes = "malloc_bytes"
            case largestMallocBytes = "largest_malloc_bytes"
            case heapBytes = "heap_bytes"
        }
    }

    private static let layers = 2
    private static let experts = 4
    private static let sequenceLength = 32
    /// Steps that may take what they need, and steps that are counted.
    private static let warmUpSteps = 25
    private static let countedSteps = 5

    private let step: TrainingStep
    private let communicator: any Communicator
    private let routingRows: Int

    init(hiddenSize: Int, sequences: Int, communicator: any Communicator) throws {
        self.communicator = communicator
        let context = ExpertParallelContext(communicator: communicator, overlap: [.gradients, .refresh])
        let configuration = try MixtralConfiguration(
            vocabularySize: 97, hiddenSize: hiddenSize, intermediateSize: 2 * hiddenSize, layers: Self.layers, heads: 4,
            keyValueHeads: 2, experts: Self.experts, expertsPerToken: 2, maximumPositions: Self.sequenceLength)
        let model = MixtralModel(configuration: configuration, timer: context.timer)
        try parallelizeExperts(
            in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
            allocator: StaticAllocator(.tensorParallel), dispatcher: RandomDispatcher(seed: 1),
            configuration: ParallelConfiguration(
                layers: Self.layers, expertsPerLayer: .uniform(Self.experts), context: context))
        try model.loadWeights(from: RandomWeights(seed: 1, standardDeviation: 0.02))
        for case let router as Router in model.namedModules().map(\.module) { router.assignsEvenly = true }

        let file = FileManager.default.temporaryDirectory.appending(path: "step-allocations-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data((0..<4_096).flatMap { [UInt8($0 * $0 % 97), 0] }).write(to: file)
        let steps = Self.warmUpSteps + Self.countedSteps
        let options = TrainingOptions(
            data: file.path, steps: steps, batchSize: sequences, sequenceLength: Self.sequenceLength,
            schedule: LearningRateSchedule(
                shape: .constant, learningRate: 1e-3, minimum: 0, warmupSteps: 0, steps: steps))
        let batches = try BatchSource(
            file: TokenFile(path: file.path, vocabularySize: 97), sequenceLength: Self.sequenceLength,
            batchSize: sequences, order: .random(seed: 1))
        step = TrainingStep(
            model: model, optimizer: MoEOptimizer(model: model, context: context), context: context, batches: batches,
            options: options)
        let own = BatchSource.block(of: communicator.rank, in: 0..<sequences, worldSize: communicator.size)
        routingRows = 2 * own.count * Self.sequenceLength
    }

    func run() throws -> Taken {
        for index in 0..<Self.warmUpSteps { _ = try step.run(step: index) }
        var taken = Taken(rank: communicator.rank, routingRows: routingRows)
        let heap = heap_bytes()
        for index in Self.warmUpSteps..<Self.warmUpSteps + Self.countedSteps {
            let pool = StoragePool.shared.takenBytes
            allocation_count_reset()
            _ = try step.run(step: index)
            let count = allocation_count()
            taken.poolBytes = max(taken.poolBytes, StoragePool.shared.takenBytes - pool)
            taken.mallocCalls = max(taken.mallocCalls, count.calls)
            taken.mallocBytes = max(taken.mallocBytes, count.bytes)
            taken.largestMallocBytes = max(taken.largestMallocBytes, count.largest_bytes)
        }
        taken.heapBytes = heap_bytes() - heap
        // MPI must not be left while messages are under way.
        try step.optimizer.finishRefresh()
        return taken
    }
}
