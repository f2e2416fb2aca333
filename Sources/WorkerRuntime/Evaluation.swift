import ExpertParallelism
import MessagePassing
import Mixtral
import TokenData

/// The loss over the validation split, read in order, through the same expert-parallel path without gradients, as many sequences at
/// once as in training. The tokens after the last whole sequence are left out.
public struct Evaluation {
    let model: MixtralModel
    let context: ExpertParallelContext
    /// Read in order, from the beginning.
    let batches: BatchSource
    /// At most so many batches; 0: all.
    let batchLimit: Int
    /// Of a micro-batch, which goes through the model at once.
    private let sequencesAtOnce: Int
    let mesh: DenseMesh

    /// - Parameters:
    ///   - microBatches: parts of a batch; they divide its sequences evenly.
    ///   - mesh: that the model's dense layers are spread over; nil: they are not.
    public init(
        model: MixtralModel, context: ExpertParallelContext, batches: BatchSource, batchLimit: Int = 0,
        microBatches: Int = 1, mesh: DenseMesh? = nil
    ) {
        precondition(
            microBatches > 0 && batches.batchSize.isMultiple(of: microBatches),
            "\(microBatches) micro-batches of \(batches.batchSize) sequences")
        self.model = model
        self.context = context
        self.batches = batches
        self.batchLimit = batchLimit
        sequencesAtOnce = batches.batchSize / microBatches
        self.mesh = mesh ?? DenseMesh(dataParallel: context.communicator.size)
    }

    /// Mean cross-entropy over all tokens that were read. Collective.
    /// - Parameter isStopped: whether this rank was asked to end; looked at before each micro-batch. nil, on all ranks: it reads on.
    /// - Returns: nil when any rank was.
    public func loss(unless isStopped: (() -> Bool)? = nil) throws -> Double? {
        var sum = 0.0
        for index in 0..<microBatchCount {
            if let isStopped, try context.communicator.isTrueAnywhere(isStopped()) { return nil }
            let (batch, sequences) = own(microBatch: index)
            sum += try model.evaluationLossSum(
                tokens: batch.tokens, targets: batch.targets, sequences: sequences,
                sequenceLength: batches.sequenceLength)
        }
        return try total(sum) / Double(sequences * batches.sequenceLength)
    }

    /// Where on this rank numbers stop being finite, in the first micro-batch whose loss is not. Collective.
    func nonFiniteCause(_ optimizer: MoEOptimizer) throws -> NonFiniteCause? {
        for index in 0..<microBatchCount {
            let (batch, sequences) = own(microBatch: index)
            // As in training, because that keeps what each layer got; there is no backward pass.
            let losses = try model.trainingForward(
                tokens: batch.tokens, targets: batch.targets, sequences: sequences,
                sequenceLength: batches.sequenceLength, lossScale: 1)
            guard try total(losses.lossSum).isFinite else { return .inForward(model: model, optimizer: optimizer) }
        }
        return nil
    }

    /// Sequences that are read.
    private var sequences: Int {
        let available = batches.sequencesWithoutWrapping
        let limit = batchLimit.multipliedReportingOverflow(by: batches.batchSize)
        return batchLimit == 0 || limit.overflow ? available : min(available, limit.partialValue)
    }

    private var microBatchCount: Int { (sequences - 1) / sequencesAtOnce + 1 }

    /// This rank's part of a micro-batch. The last one may be smaller, and leave some ranks without a sequence.
    private func own(microBatch index: Int) -> (batch: (tokens: [Int32], targets: [Int32]), sequences: Int) {
        let start = index * sequencesAtOnce
        let all = start..<start + min(sequencesAtOnce, sequences - start)
        let own = BatchBlocks.Block(
            rank: context.communicator.rank, mesh: mesh, sequences: all, sequenceLength: batches.sequenceLength)
        context.step = index
        context.firstToken = own.firstToken
        return (own.batch(step: 0, of: batches), own.sequences.count)
    }

    /// Adds up over the ranks.
    private func total(_ value: Double) throws -> Double {
        var sums = [value]
        var span = sums.mutableSpan
        try context.communicator.allReduce(&span, .sum)
        return sums[0]
    }
}
