import TokenData

/// How the global batch is cut: into micro-batches of equal size, and each of these into one block of consecutive
/// sequences a rank; blocks differ by at most one sequence.
struct BatchBlocks {
    /// Sequences in a micro-batch, over all ranks.
    let sequencesPerMicroBatch: Int
    let microBatches: Int
    let sequenceLength: Int
    let rank: Int
    let worldSize: Int

    init(_ options: TrainingOptions, rank: Int, worldSize: Int) {
        sequencesPerMicroBatch = options.batchSize / options.microBatches
        microBatches = options.microBatches
        sequenceLength = options.sequenceLength
        self.rank = rank
        self.worldSize = worldSize
    }

    /// The sequences of the global batch that this rank computes in a micro-batch.
    func own(microBatch: Int) -> Range<Int> {
        let start = microBatch * sequencesPerMicroBatch
        return BatchSource.block(of: rank, in: start..<start + sequencesPerMicroBatch, worldSize: worldSize)
    }

    /// Tokens of a micro-batch, over all ranks.
    var tokensPerMicroBatch: Int { sequencesPerMicroBatch * sequenceLength }

    /// Tokens that this rank computes in a step.
    var ownTokensPerStep: Int {
        (0..<microBatches).reduce(0) { $0 + own(microBatch: $1).count * sequenceLength }
    }
}
