import ExpertParallelism
import TokenData

/// How the global batch is cut: into micro-batches of equal size, each of these into one block of consecutive sequences a
/// tensor-parallel group, and the tokens of a block over the group's ranks. Blocks differ by at most one sequence, ranks of a group by
/// one token.
struct BatchBlocks {
    /// Sequences in a micro-batch, over all ranks.
    let sequencesPerMicroBatch: Int
    let microBatches: Int
    let sequenceLength: Int
    let rank: Int
    let mesh: DenseMesh

    init(_ options: TrainingOptions, rank: Int, mesh: DenseMesh) {
        sequencesPerMicroBatch = options.batchSize / options.microBatches
        microBatches = options.microBatches
        sequenceLength = options.sequenceLength
        self.rank = rank
        self.mesh = mesh
    }

    /// What this rank computes of a micro-batch.
    func own(microBatch: Int) -> Block {
        let start = microBatch * sequencesPerMicroBatch
        return Block(
            rank: rank, mesh: mesh, sequences: start..<start + sequencesPerMicroBatch, sequenceLength: sequenceLength)
    }

    /// Some of a batch's sequences, and which of their tokens a rank has.
    struct Block {
        /// Of the rank's group.
        let sequences: Range<Int>
        /// The rank's, among those of these sequences.
        let tokens: Range<Int>
        /// Index in the batch of the first of them.
        let firstToken: Int

        /// - Parameter sequences: of all groups.
        init(rank: Int, mesh: DenseMesh, sequences: Range<Int>, sequenceLength: Int) {
            let own = BatchSource.block(
                of: mesh.group(of: rank), in: sequences, worldSize: mesh.dataParallel)
            self.sequences = own
            tokens = mesh.tokens(of: rank, count: own.count * sequenceLength)
            firstToken = own.lowerBound * sequenceLength + tokens.lowerBound
        }

        /// The rank's tokens, and those that follow each.
        func batch(step: Int, of source: BatchSource) -> (tokens: [Int32], targets: [Int32]) {
            let all = source.batch(step: step, sequences: sequences)
            return tokens.count == all.tokens.count
                ? all : (Array(all.tokens[tokens]), Array(all.targets[tokens]))
        }
    }

    /// Tokens of a micro-batch, over all ranks.
    var tokensPerMicroBatch: Int { sequencesPerMicroBatch * sequenceLength }

    /// Tokens that this rank computes in a step.
    var ownTokensPerStep: Int {
        (0..<microBatches).reduce(0) { $0 + own(microBatch: $1).tokens.count }
    }
}
