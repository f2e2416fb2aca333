import ExpertParallelism
import Mixtral
import TokenData

/// The loss over the validation split, read in order, through the same expert-parallel path without gradients.
public struct Evaluation {
    let model: MixtralModel
    let context: ExpertParallelContext
    let batches: BatchSource
    let batchSize: Int
    let sequenceLength: Int
    /// At most so many batches; 0: all.
    let batchLimit: Int

    /// Mean cross-entropy over all tokens that were read. Collective.
    public func loss() throws -> Double {
        let communicator = context.communicator
        let available = batches.sequencesWithoutWrapping
        let sequences = batchLimit == 0 ? available : min(available, batchLimit * batchSize)
        var sums = [0.0]
        for (index, start) in stride(from: 0, to: sequences, by: batchSize).enumerated() {
            let range = start..<min(start + batchSize, sequences)
            let own = BatchSource.block(of: communicator.rank, in: range, worldSize: communicator.size)
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
