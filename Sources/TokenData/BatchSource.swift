import Randomness

/// Training batches out of a token file. What is in a batch depends on the step alone, not on the world size or on the
/// batches before it, so that a resumed run and one on other ranks see the same.
public struct BatchSource: Sendable {
    public enum Order: Sendable {
        /// Sequence b of step s starts at token (s·B + b)·T; the end of the file is followed by its beginning.
        case sequential
        /// Every sequence starts anywhere in the file where it and its targets fit, keyed by (seed, step, b).
        case random(seed: UInt64)
    }

    public let file: TokenFile
    /// T, tokens a sequence.
    public let sequenceLength: Int
    /// B, sequences in the global batch.
    public let batchSize: Int
    public let order: Order

    /// - Parameters:
    ///   - sequenceLength: T, at least 1.
    ///   - batchSize: B, at least 1.
    /// - Throws: `TokenDataError.tooShort` when the file has fewer than T + 1 tokens.
    public init(file: TokenFile, sequenceLength: Int, batchSize: Int, order: Order) throws(TokenDataError) {
        precondition(sequenceLength > 0 && batchSize > 0, "a batch of \(batchSize) × \(sequenceLength) tokens")
        // Not `count < T + 1`, which overflows for the largest T.
        guard file.count > sequenceLength else {
            throw .tooShort(file: file.path, tokens: file.count, needed: sequenceLength.addingReportingOverflow(1).0)
        }
        self.file = file
        self.sequenceLength = sequenceLength
        self.batchSize = batchSize
        self.order = order
    }

    /// How many sequences, read in order, have all their tokens and targets before the file's end; at least one.
    public var sequencesWithoutWrapping: Int { (file.count - 1) / sequenceLength }

    /// Tokens and targets of some sequences of the global batch of `step`, sequence after sequence (S·T of each). The target
    /// is the same window one token on.
    /// - Parameters:
    ///   - step: from 0.
    ///   - sequences: indices b in the global batch; may go beyond B, into the following batches when read in order.
    public func batch(step: Int, sequences: Range<Int>) -> (tokens: [Int32], targets: [Int32]) {
        var tokens = [Int32]()
        var targets = [Int32]()
        tokens.reserveCapacity(sequences.count * sequenceLength)
        targets.reserveCapacity(sequences.count * sequenceLength)
        for sequence in sequences {
            let start = start(ofSequence: sequence, step: step)
            file.append(from: start, length: sequenceLength, to: &tokens)
            file.append(from: (start + 1) % file.count, length: sequenceLength, to: &targets)
        }
        return (tokens, targets)
    }

    /// Index in the file of the first token of sequence `sequence` of the batch of `step`.
    package func start(ofSequence sequence: Int, step: Int) -> Int {
        switch order {
        case .sequential:
            return (step * batchSize + sequence) * sequenceLength % file.count
        case .random(let seed):
            return CounterBasedGenerator(seed: seed, purpose: "data order", keys: [step, sequence])
                .integer(at: 0, below: file.count - sequenceLength)
        }
    }

    /// The consecutive sequences of `range` that `rank` takes: `worldSize` blocks that differ by at most one sequence, larger
    /// ones first.
    public static func block(of rank: Int, in range: Range<Int>, worldSize: Int) -> Range<Int> {
        let (size, rest) = range.count.quotientAndRemainder(dividingBy: worldSize)
        let start = range.lowerBound + rank * size + min(rank, rest)
        return start..<start + size + (rank < rest ? 1 : 0)
    }
}
