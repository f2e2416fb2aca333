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

    public init(model: MixtralModel, context: ExpertParallelContext, batches: BatchSource, batchLimit: Int = 0) {
        self.model = model
        self.context = context
        self.batches = batches
        self.batchLimit = batchLimit
    }

    /// Mean cross-entropy over all tokens that were read. Collective.
    public func loss() throws -> Double {
        let communicator = context.communicator
        let (batchSize, sequenceLength) = (batches.batchSize, batches.sequenceLength)
        let available = batches.sequencesWithoutWrapping
        let limit = batchLimit.multipliedReportingOverflow(by: batchSize)
        let sequences = batchLimit == 0 || limit.overflow ? available : min(available, limit.partialValue)
        var sums = [0.0]
        for (index, start) in stride(from: 0, to: sequences, by: batchSize).enumerated() {
            // The last batch may be smaller, and leave some ranks without a sequence.
            let own = BatchSource.block(
                of: communicator.rank, in: start..<min(start + batchSize, sequences), worldSize: communicator.size)
            let batch = batches.batch(step: 0, sequences: own)
            context.step = index
            context.firstToken = own.lowerBound * sequenceLength
            sums[0] += try model.evaluationLossSum(
                tokens: batch.tokens, targets: batch.targets, sequences: own.count, sequenceLength: sequenceLength)
        }
        var span = sums.mutableSpan
        try communicator.allReduce(&span, .sum)
        return sums[0] / Double(sequences * sequenceLength)
    }
}
