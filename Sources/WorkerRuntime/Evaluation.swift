import ExpertParallelism
import MessagePassing
import Mixtral
import TokenData

/// The loss over the validation split, read in order, through the same expert-parallel path without gradients. The tokens
/// after the last whole sequence are left out.
public struct Evaluation {
    let model: MixtralModel
    let context: ExpertParallelContext
    /// Read in order, from the beginning.
    let batches: BatchSource
    /// At most so many batches; 0: all.
    let batchLimit: Int
    let mesh: DenseMesh

    /// - Parameter mesh: that the model's dense layers are spread over; nil: they are not.
    public init(
        model: MixtralModel, context: ExpertParallelContext, batches: BatchSource, batchLimit: Int = 0,
        mesh: DenseMesh? = nil
    ) {
        self.model = model
        self.context = context
        self.batches = batches
        self.batchLimit = batchLimit
        self.mesh = mesh ?? DenseMesh(dataParallel: context.communicator.size)
    }

    /// Mean cross-entropy over all tokens that were read. Collective.
    public func loss() throws -> Double {
        var sum = 0.0
        for index in 0..<batchCount {
            let (batch, sequences) = own(batch: index)
            sum += try model.evaluationLossSum(
                tokens: batch.tokens, targets: batch.targets, sequences: sequences,
                sequenceLength: batches.sequenceLength)
        }
        return try total(sum) / Double(sequences * batches.sequenceLength)
    }

    /// Where on this rank numbers stop being finite, in the first batch whose loss is not. Collective.
    func nonFiniteCause(_ optimizer: MoEOptimizer) throws -> NonFiniteCause? {
        for index in 0..<batchCount {
            let (batch, sequences) = own(batch: index)
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

    private var batchCount: Int { (sequences - 1) / batches.batchSize + 1 }

    /// This rank's part of a batch. The last batch may be smaller, and leave some ranks without a sequence.
    private func own(batch index: Int) -> (batch: (tokens: [Int32], targets: [Int32]), sequences: Int) {
        let start = index * batches.batchSize
        let all = start..<start + min(batches.batchSize, sequences - start)
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
