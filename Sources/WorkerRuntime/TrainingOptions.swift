import ControlProtocol
import ExpertParallelism
import ExpertPlacement
import Layers
import Tensors
import TokenData

/// What a training run is asked to do: the flags of `moe-worker`, resolved.
public struct TrainingOptions: Sendable {
    public enum DataOrder: String, Sendable, CaseIterable {
        case sequential, random
    }
    public enum OnNonFinite: String, Sendable, CaseIterable {
        case stop, skip
    }

    public enum Resume: String, Sendable, CaseIterable {
        /// Goes on from the newest checkpoint, where there is one.
        case newest
        /// Begins anew, and refuses to where there is one.
        case never
    }

    // Data and model
    public var data: String
    /// A Hugging Face checkpoint directory; or else `modelConfiguration`.
    public var model: String?
    /// A `config.json` alone: weights are drawn from the seed.
    public var modelConfiguration: String?
    public var steps: Int
    /// B, sequences in the global batch.
    public var batchSize: Int
    /// T, tokens a sequence.
    public var sequenceLength: Int
    public var microBatches = 1
    /// What layers compute again in backward instead of keeping it.
    public var recomputation = Recomputation.none
    public var dataOrder = DataOrder.random
    public var seed: UInt64 = 0

    // The mesh of attention and of what else all tokens go through
    /// Groups of ranks that have a part of the batch's sequences each; nil: what follows from the ranks and `tensorParallel`.
    public var dataParallel: Int?
    /// Ranks of a group; nil: what follows from the ranks and `dataParallel`, or 1 without that.
    public var tensorParallel: Int?

    // Optimization
    public var schedule: LearningRateSchedule
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    public var weightDecay = 0.0
    public var gradientClip = 1.0
    public var auxiliaryLoss: Double?
    public var onNonFinite = OnNonFinite.stop
    /// What experts take in training; nil: all tokens.
    public var capacity: ExpertCapacity?

    // Placement
    public var allocator = Allocators.defaultName
    /// Nil: the one that suits the allocator.
    public var dispatcher: String?
    public var optimizerPlacement = OwnershipPolicy.defaultPolicy
    /// Bytes of weights and moments that all ranks together move before one step; nil: about what half a step takes.
    public var migrationBudgetBytes: Int?
    /// Bytes that experts may take on this rank, as `PlanMemory` counts them; nil: its part of what the node has.
    public var memoryLimitBytes: Int?
    /// Where the placement of each step is written.
    public var placementLog: String?
    /// Such a file: experts are where it says, and nothing else is planned.
    public var placementReplay: String?
    /// For benchmarks only: experts get the same number of tokens, whatever the router says.
    public var benchmarkEvenRouting = false

    // Output
    /// Steps between validations, for which there must be data; 0: none but the last, if there is.
    public var evaluationInterval = 0
    /// Batches of the validation split that count; 0: all of it.
    public var evaluationBatches = 0
    /// Where the metrics of each step are written: JSON lines, a table, and TensorBoard's events of all runs.
    public var metrics: String?
    public var csv: String?
    public var tensorBoard: String?
    public var checkpointDirectory: String?
    /// Steps between checkpoints; 0: only the last.
    public var checkpointInterval = 0
    /// How many of the newest checkpoints stay; 0: all.
    public var checkpointKeep = 3
    public var resume = Resume.newest
    public var logInterval = 10
    public var threads = 1
    /// What travels while ranks compute.
    public var overlap = Overlap.all
    /// What matrix products round their factors to; the router's stay fp32. Whoever starts the training configures it for the process.
    public var precision = Precision.float32
    /// As `precision`.
    public var matrixLibrary = MatrixLibrary.automatic

    // Control plane
    /// Nil: a name is made from the time and a random number.
    public var run: String?
    /// HOST:PORT; nil: placement is decided in this process.
    public var coordinator: String?
    /// What the coordinator knows workers by; nil: it has no keys.
    public var keyFile: String?
    /// Steps that one report covers.
    public var reportInterval = 10
    /// How long the start waits for the coordinator.
    public var coordinatorTimeoutSeconds = 30.0

    public init(
        data: String, steps: Int, batchSize: Int, sequenceLength: Int, schedule: LearningRateSchedule
    ) {
        self.data = data
        self.steps = steps
        self.batchSize = batchSize
        self.sequenceLength = sequenceLength
        self.schedule = schedule
    }

    /// - Throws: `WorkerError` that names the flag and what it takes.
    public func validate(worldSize: Int) throws {
        func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
            if !condition { throw WorkerError.usage(message()) }
        }
        func requireRange(_ flag: String, _ value: Double, _ range: ClosedRange<Double>) throws {
            try require(
                value.isFinite && range.contains(value),
                "--\(flag) must be between \(range.lowerBound) and \(range.upperBound), not \(value)")
        }
        for (flag, value, least) in [
            ("steps", steps, 0), ("batch-size", batchSize, 1), ("sequence-length", sequenceLength, 1),
            ("micro-batches", microBatches, 1), ("warmup-steps", schedule.warmupSteps, 0),
            ("evaluation-interval", evaluationInterval, 0), ("evaluation-batches", evaluationBatches, 0),
            ("log-interval", logInterval, 1), ("report-interval", reportInterval, 1), ("threads", threads, 1),
            ("checkpoint-interval", checkpointInterval, 0), ("checkpoint-keep", checkpointKeep, 0),
        ] {
            try require(value >= least, "--\(flag) must be at least \(least), not \(value)")
            try require(value <= 1 << 40, "--\(flag) \(value) is too large")
        }
        try require(threads <= Threads.limit, "--threads must be at most \(Threads.limit), not \(threads)")
        let (tokens, overflow) = batchSize.multipliedReportingOverflow(by: sequenceLength)
        try require(
            !overflow && tokens <= Int(Int32.max),
            "a batch of \(batchSize) × \(sequenceLength) tokens is too large; use a smaller --batch-size")
        try require(
            batchSize % microBatches == 0,
            "--batch-size \(batchSize) must be a multiple of --micro-batches \(microBatches)")
        let mesh = try mesh(worldSize: worldSize)
        let sharers = mesh.tensorParallel == 1 ? "ranks" : "tensor-parallel groups"
        try require(
            batchSize / microBatches >= mesh.dataParallel,
            "--batch-size \(batchSize) in \(microBatches) micro-batches gives fewer sequences than there are \(sharers) "
                + "(\(mesh.dataParallel)); use at least \(mesh.dataParallel * microBatches)")
        try require(
            (model == nil) != (modelConfiguration == nil),
            "give either --model DIR (a checkpoint) or --model-config FILE (weights drawn from the seed)")
        try require(
            checkpointInterval == 0 || checkpointDirectory != nil, "--checkpoint-interval needs --checkpoint-directory")
        try require(
            metrics?.lowercased().hasSuffix(".csv") != true,
            "--metrics writes JSON lines; use --csv \(metrics ?? "") for a table, or another name")
        if let obstacle = precision.obstacle {
            throw WorkerError.failed("--dtype \(precision.rawValue): \(obstacle); use --dtype fp32")
        }
        try PlacementChoice.validate(
            allocator: allocator, dispatcher: dispatcher, hasCoordinator: coordinator != nil)
        if let migrationBudgetBytes {
            try require(
                migrationBudgetBytes > 0, "--migration-budget must be at least 1 byte, not \(migrationBudgetBytes)")
        }
        if let memoryLimitBytes {
            try require(memoryLimitBytes > 0, "--memory-limit must be at least 1 byte, not \(memoryLimitBytes)")
        }
        if let coordinator { _ = try access(to: coordinator) }
        try require(
            placementReplay == nil || coordinator == nil,
            "--placement-replay says where experts are, and so does a coordinator: leave one of them out")
        if let run { try require(RunName.isValid(run), "--run \"\(run)\": \(RunName.rule)") }
        try requireRange("learning-rate", schedule.learningRate, 0...Double.greatestFiniteMagnitude)
        try requireRange("minimum-learning-rate", schedule.minimum, 0...Double.greatestFiniteMagnitude)
        if schedule.minimum > 0 {
            try require(
                schedule.shape == .cosine,
                "--minimum-learning-rate is what a cosine ends at; add --learning-rate-schedule cosine, or leave it out"
            )
            try require(
                schedule.minimum <= schedule.learningRate,
                "--minimum-learning-rate \(schedule.minimum) is above --learning-rate \(schedule.learningRate); it is what the cosine ends at"
            )
        }
        try requireRange("beta1", beta1, 0...1.0.nextDown)
        try requireRange("beta2", beta2, 0...1.0.nextDown)
        // Entries without a gradient are 0 / (0 + epsilon), in fp32, where 1e-46 is 0.
        try requireRange("epsilon", epsilon, 1e-30...1)
        try requireRange("weight-decay", weightDecay, 0...Double.greatestFiniteMagnitude)
        try requireRange("gradient-clip", gradientClip, 0...Double.greatestFiniteMagnitude)
        try requireRange("coordinator-timeout", coordinatorTimeoutSeconds, 0...86_400)
        if let auxiliaryLoss {
            try requireRange("auxiliary-loss", auxiliaryLoss, 0...Double.greatestFiniteMagnitude)
        }
        if let capacity { try requireRange("capacity-factor", capacity.factor, 0.01...1e6) }
    }
}
