import ExpertParallelism
import Layers
import MessagePassing
import Mixtral
import Tensors
import TokenData

/// One rank's part of training steps: forward, backward, gradients to their owners, update.
public final class TrainingStep {
    /// What a step did, the same on all ranks.
    public struct Outcome: Sendable {
        /// Mean cross-entropy over the global batch.
        public var loss = 0.0
        /// Means over the micro-batches of the auxiliary loss and the z-loss, before their coefficients.
        public var auxiliaryLoss = 0.0
        public var zLoss = 0.0
        /// Global norm before clipping; not a number when the loss was not finite already.
        public var gradientNorm = Double.nan
        /// (token, expert) pairs, [layer][expert].
        public var expertLoads = [[Int]]()
        /// Those of them that found no place at the expert, [layer][expert]; empty without a capacity.
        public var droppedLoads = [[Int]]()
        /// Whether the weights were left alone because something was not finite.
        public var isSkipped = false

        /// Pairs that experts computed.
        var computedLoads: [[Int]] {
            droppedLoads.isEmpty ? expertLoads : zip(expertLoads, droppedLoads).map { zip($0, $1).map { $0 - $1 } }
        }

        package init() {}
    }

    public let model: MixtralModel
    public let optimizer: MoEOptimizer
    private let context: ExpertParallelContext
    private let batches: BatchSource
    private let options: TrainingOptions
    private let blocks: BatchBlocks
    /// Coefficient of the auxiliary loss.
    private let auxiliaryCoefficient: Double
    /// Of each layer.
    private let routers: [Router]

    /// - Parameter mesh: that the model's dense layers are spread over; nil: they are not.
    public init(
        model: MixtralModel, optimizer: MoEOptimizer, context: ExpertParallelContext, batches: BatchSource,
        options: TrainingOptions, mesh: DenseMesh? = nil
    ) {
        self.model = model
        self.optimizer = optimizer
        self.context = context
        self.batches = batches
        self.options = options
        let communicator = context.communicator
        blocks = BatchBlocks(
            options, rank: communicator.rank, mesh: mesh ?? DenseMesh(dataParallel: communicator.size))
        auxiliaryCoefficient = options.auxiliaryLoss ?? model.configuration.auxiliaryLossCoefficient
        routers = model.namedModules().compactMap { $0.module as? Router }
    }

    /// Trains on the batch of `step`, from 0. Collective.
    /// - Throws: `WorkerError` naming step, layer and rank when a loss or gradient is not finite, before any weight is
    ///   touched, unless such steps are to be skipped.
    public func run(step: Int) throws -> Outcome {
        var outcome = try gradients(step: step, startsReductions: context.overlap.contains(.gradients))
        if outcome.isSkipped { return outcome }
        outcome.gradientNorm = try optimizer.reduceGradients()
        guard outcome.gradientNorm.isFinite else {
            if options.onNonFinite == .stop { try failNonFiniteGradient(step: step) }
            outcome.isSkipped = true
            return outcome
        }
        try optimizer.step(
            AdamW.Configuration(
                learningRate: options.schedule.rate(at: step), beta1: options.beta1, beta2: options.beta2,
                epsilon: options.epsilon, weightDecay: options.weightDecay),
            gradientScale: MoEOptimizer.clippingScale(norm: outcome.gradientNorm, limit: options.gradientClip))
        for (router, loads) in zip(routers, outcome.expertLoads) { router.updateSelectionBias(loads: loads) }
        return outcome
    }

    /// Adds up this rank's gradients over the micro-batches of `step`; `run` without the update. Collective.
    /// - Parameter startsReductions: whether gradients travel to their owners as soon as they are complete.
    package func gradients(step: Int, startsReductions: Bool = false) throws -> Outcome {
        optimizer.zeroGradients()
        context.step = step
        var outcome = Outcome()
        for microBatch in 0..<blocks.microBatches {
            try run(
                step: step, microBatch: microBatch,
                startsReductions: startsReductions && microBatch + 1 == blocks.microBatches, adding: &outcome)
            if outcome.isSkipped { break }
        }
        return outcome
    }

    /// Forward and backward of one micro-batch.
    private func run(
        step: Int, microBatch: Int, startsReductions: Bool, adding outcome: inout Outcome
    ) throws {
        let own = blocks.own(microBatch: microBatch)
        let batch = own.batch(step: step, of: batches)
        context.firstToken = own.firstToken
        let tokens = blocks.tokensPerMicroBatch

        let losses = try model.trainingForward(
            tokens: batch.tokens, targets: batch.targets, sequences: own.sequences.count,
            sequenceLength: options.sequenceLength,
            lossScale: 1 / Float(tokens * options.microBatches), beforeStage: optimizer.finishRefresh(stage:))
        let statistics = try GlobalStatistics(
            losses, sequences: blocks.sequencesPerMicroBatch, sequenceLength: options.sequenceLength,
            routing: model.configuration.routing, communicator: context.communicator)
        guard statistics.loss.isFinite else {
            outcome.loss = statistics.loss
            outcome.isSkipped = true
            if options.onNonFinite == .skip { return }
            try context.communicator.failNonFinite(
                "loss", step: step + 1, cause: .inForward(model: model, optimizer: optimizer))
        }
        outcome.loss += statistics.loss / Double(options.microBatches)
        outcome.auxiliaryLoss += statistics.auxiliaryLoss / Double(options.microBatches)
        outcome.zLoss += statistics.zLoss / Double(options.microBatches)
        outcome.expertLoads = outcome.expertLoads.adding(statistics.expertLoads)
        outcome.droppedLoads = outcome.droppedLoads.adding(statistics.droppedLoads)
        let routing = model.configuration.routing
        let gradient =
            auxiliaryCoefficient == 0 || routing.balancesSequences
            ? nil : statistics.probabilityGradient(coefficient: auxiliaryCoefficient / Double(options.microBatches))
        let scales = RouterLossScales(
            zLoss: Float(routing.zLossCoefficient / Double(tokens * options.microBatches)),
            sequenceLoss: Float(auxiliaryCoefficient / Double(options.batchSize)))
        try model.backward(auxiliaryProbabilityGradient: gradient, routerLossScales: scales) { stage in
            if startsReductions { try optimizer.startReduction(stage: stage) }
        }
    }

    /// Owners have added what other ranks sent, so the step is computed again to see on which rank it began. Collective.
    private func failNonFiniteGradient(step: Int) throws -> Never {
        _ = try gradients(step: step)
        try context.communicator.failNonFinite(
            "gradient", step: step + 1, cause: .inBackward(model: model, optimizer: optimizer))
    }
}
