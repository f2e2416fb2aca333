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
        /// Mean over the micro-batches of the auxiliary loss, before its coefficient.
        public var auxiliaryLoss = 0.0
        /// Global norm before clipping; not a number when the loss was not finite already.
        public var gradientNorm = Double.nan
        /// (token, expert) pairs, [layer][expert].
        public var expertLoads = [[Int]]()
        /// Whether the weights were left alone because something was not finite.
        public var isSkipped = false
    }

    public let model: MixtralModel
    public let optimizer: MoEOptimizer
    private let context: ExpertParallelContext
    private let batches: BatchSource
    private let options: TrainingOptions
    /// Coefficient of the auxiliary loss.
    private let auxiliaryCoefficient: Double

    public init(
        model: MixtralModel, optimizer: MoEOptimizer, context: ExpertParallelContext, batches: BatchSource,
        options: TrainingOptions
    ) {
        self.model = model
        self.optimizer = optimizer
        self.context = context
        self.batches = batches
        self.options = options
        auxiliaryCoefficient = options.auxiliaryLoss ?? model.configuration.auxiliaryLossCoefficient
    }

    /// Trains on the batch of `step`, from 0. Collective.
    /// - Throws: `WorkerError` naming step, layer and rank when a loss or gradient is not finite, before any weight is
    ///   touched, unless such steps are to be skipped.
    public func run(step: Int) throws -> Outcome {
        var outcome = try gradients(step: step)
        if outcome.isSkipped { return outcome }
        outcome.gradientNorm = try optimizer.reduceGradients()
        guard outcome.gradientNorm.isFinite else {
            try handleNonFinite(
                "gradient", step: step,
                where: optimizer.firstNonFiniteGradient().map { ($0, layer(ofPath: $0)) })
            outcome.isSkipped = true
            return outcome
        }
        try optimizer.step(
            AdamW.Configuration(
                learningRate: options.schedule.rate(at: step), beta1: options.beta1, beta2: options.beta2,
                epsilon: options.epsilon, weightDecay: options.weightDecay),
            gradientScale: MoEOptimizer.clippingScale(norm: outcome.gradientNorm, limit: options.gradientClip))
        return outcome
    }

    /// Adds up this rank's gradients over the micro-batches of `step`; `run` without the update. Collective.
    package func gradients(step: Int) throws -> Outcome {
        optimizer.zeroGradients()
        context.step = step
        var outcome = Outcome()
        let sequences = options.batchSize / options.microBatches
        for microBatch in 0..<options.microBatches {
            let range = microBatch * sequences..<(microBatch + 1) * sequences
            try run(step: step, sequences: range, adding: &outcome)
            if outcome.isSkipped { break }
        }
        return outcome
    }

    /// Forward and backward of one micro-batch, which are the sequences `range` of the global batch.
    private func run(step: Int, sequences range: Range<Int>, adding outcome: inout Outcome) throws {
        let communicator = context.communicator
        let own = BatchSource.block(of: communicator.rank, in: range, worldSize: communicator.size)
        let batch = batches.batch(step: step, sequences: own)
        context.firstToken = own.lowerBound * options.sequenceLength
        let tokens = range.count * options.sequenceLength

        let losses = try model.trainingForward(
            tokens: batch.tokens, targets: batch.targets, sequences: own.count,
            sequenceLength: options.sequenceLength,
            lossScale: 1 / Float(tokens * options.microBatches))
        let statistics = try GlobalStatistics(losses, tokens: tokens, communicator: communicator)
        guard statistics.loss.isFinite else {
            let layer = model.firstNonFiniteLayer()
            try handleNonFinite("loss", step: step, where: layer.map { ("layer \($0)", $0) })
            outcome.isSkipped = true
            return
        }
        outcome.loss += statistics.loss / Double(options.microBatches)
        outcome.auxiliaryLoss += statistics.auxiliaryLoss / Double(options.microBatches)
        outcome.add(statistics.expertLoads)
        let gradient =
            auxiliaryCoefficient == 0
            ? nil : statistics.probabilityGradient(coefficient: auxiliaryCoefficient / Double(options.microBatches))
        try model.backward(auxiliaryProbabilityGradient: gradient)
    }

    /// Agrees on the lowest rank and layer where something is not finite. Collective.
    private func handleNonFinite(_ what: String, step: Int, where finding: (name: String, layer: Int)?) throws {
        if options.onNonFinite == .skip { return }
        try context.communicator.agree {
            guard let finding else { return }
            throw WorkerError.failed(
                "step \(step + 1): the \(what) is not finite, first in \(finding.name) on rank "
                    + "\(context.communicator.rank). No weight was changed. Try a lower --learning-rate, "
                    + "--gradient-clip 1, or --on-nonfinite skip")
        }
        throw WorkerError.failed("step \(step + 1): the \(what) is not finite, though all ranks' parts are")
    }

    private func layer(ofPath path: String) -> Int {
        path.split(separator: ".").lazy.compactMap { Int($0) }.first ?? 0
    }
}

extension TrainingStep.Outcome {
    /// Adds the loads of a micro-batch.
    fileprivate mutating func add(_ loads: [[Int]]) {
        expertLoads = expertLoads.isEmpty ? loads : zip(expertLoads, loads).map { zip($0, $1).map { $0 + $1 } }
    }
}
