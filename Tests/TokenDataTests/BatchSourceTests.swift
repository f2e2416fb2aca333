import Randomness
import TestSupport
import Testing
import TokenData

@Suite struct BatchSourceTests {
    /// Tokens that tell their own position.
    private func source(
        tokens: Int, sequenceLength: Int, batchSize: Int, order: BatchSource.Order
    ) throws -> (BatchSource, TemporaryDirectory) {
        let directory = try TemporaryDirectory()
        let path = try directory.write(tokens: (0..<tokens).map { UInt16($0) })
        let file = try TokenFile(path: path, vocabularySize: tokens)
        let source = try BatchSource(file: file, sequenceLength: sequenceLength, batchSize: batchSize, order: order)
        return (source, directory)
    }

    /// Sequence b of step s starts at token (s·B + b)·T, the target one token on, the end followed by the beginning.
    @Test(arguments: [2, 3, 7, 12, 25, 1000], [1, 2, 5, 24])
    func sequentialOrderFollowsTheFormula(tokens: Int, sequenceLength: Int) throws {
        guard tokens > sequenceLength else { return }
        for batchSize in [1, 3] {
            let (source, directory) = try source(
                tokens: tokens, sequenceLength: sequenceLength, batchSize: batchSize, order: .sequential)
            for step in [0, 1, 2, 17, 1_000_003] {
                let batch = source.batch(step: step, sequences: 0..<batchSize)
                let positions = (0..<batchSize).flatMap { sequence in
                    (0..<sequenceLength).map { (step * batchSize + sequence) * sequenceLength + $0 }
                }
                #expect(batch.tokens == positions.map { Int32($0 % tokens) }, "B \(batchSize), step \(step)")
                #expect(batch.targets == positions.map { Int32(($0 + 1) % tokens) }, "B \(batchSize), step \(step)")
            }
            withExtendedLifetime(directory) {}
        }
    }

    @Test func theWholeFileIsReadOnceBeforeItWraps() throws {
        let (source, directory) = try source(tokens: 26, sequenceLength: 5, batchSize: 2, order: .sequential)
        defer { withExtendedLifetime(directory) {} }
        #expect(source.sequencesWithoutWrapping == 5)
        #expect(source.batch(step: 0, sequences: 0..<5).targets == (1...25).map(Int32.init))
    }

    @Test(arguments: [(6, 5, 1), (10, 5, 1), (11, 5, 2), (2, 1, 1)])
    func sequencesWithoutWrappingHaveTheirTargets(tokens: Int, sequenceLength: Int, expected: Int) throws {
        let (source, directory) = try source(
            tokens: tokens, sequenceLength: sequenceLength, batchSize: 1, order: .sequential)
        defer { withExtendedLifetime(directory) {} }
        #expect(source.sequencesWithoutWrapping == expected)
    }

    @Test(arguments: [(5, 5), (1, 1), (4, 1_000), (4, Int.max)])
    func aFileShorterThanASequenceAndItsTargetsIsRefused(tokens: Int, sequenceLength: Int) throws {
        #expect(throws: TokenDataError.self) {
            try source(tokens: tokens, sequenceLength: sequenceLength, batchSize: 1, order: .sequential)
        }
    }

    /// Blocks are consecutive, cover the range and differ by at most one, for all W ≤ B.
    @Test func blocksPartitionTheBatch() {
        for batchSize in 1...17 {
            for worldSize in 1...batchSize {
                for start in [0, 5] {
                    let range = start..<start + batchSize
                    let blocks = (0..<worldSize).map { BatchSource.block(of: $0, in: range, worldSize: worldSize) }
                    #expect(blocks.flatMap { Array($0) } == Array(range), "B \(batchSize), W \(worldSize)")
                    let sizes = blocks.map(\.count)
                    #expect(sizes.max()! - sizes.min()! <= 1, "B \(batchSize), W \(worldSize)")
                }
            }
        }
    }

    /// The ranks' parts together are the batch, whatever the world size.
    @Test(arguments: [BatchSource.Order.sequential, .random(seed: 42)])
    func batchesDoNotDependOnTheWorldSize(order: BatchSource.Order) throws {
        let batchSize = 7
        let (source, directory) = try source(tokens: 501, sequenceLength: 13, batchSize: batchSize, order: order)
        defer { withExtendedLifetime(directory) {} }
        for step in [0, 1, 99] {
            let whole = source.batch(step: step, sequences: 0..<batchSize)
            for worldSize in 1...batchSize {
                let parts = (0..<worldSize).map {
                    source.batch(
                        step: step, sequences: BatchSource.block(of: $0, in: 0..<batchSize, worldSize: worldSize))
                }
                #expect(parts.flatMap(\.tokens) == whole.tokens, "step \(step), W \(worldSize)")
                #expect(parts.flatMap(\.targets) == whole.targets, "step \(step), W \(worldSize)")
            }
        }
    }

    @Test func randomOrderStaysInsideTheFileAndReachesAllOfIt() throws {
        let seed = TestRuns.seed()
        let (source, directory) = try source(tokens: 12, sequenceLength: 4, batchSize: 50, order: .random(seed: seed))
        defer { withExtendedLifetime(directory) {} }
        var starts = Set<Int>()
        for step in 0..<20 {
            let batch = source.batch(step: step, sequences: 0..<50)
            for sequence in 0..<50 {
                let tokens = batch.tokens[4 * sequence..<4 * sequence + 4].map(Int.init)
                starts.insert(tokens[0])
                #expect(tokens == Array(tokens[0]..<tokens[0] + 4))
                #expect(batch.targets[4 * sequence..<4 * sequence + 4].map(Int.init) == tokens.map { $0 + 1 })
            }
        }
        // 12 - 4 places; each is missed by 1,000 draws with a probability of (7/8)^1000.
        #expect(starts == Set(0..<8))
    }

    @Test func seedsStepsAndSequencesDiffer() throws {
        let (one, first) = try source(tokens: 60_000, sequenceLength: 1, batchSize: 4, order: .random(seed: 1))
        let (two, second) = try source(tokens: 60_000, sequenceLength: 1, batchSize: 4, order: .random(seed: 2))
        defer { withExtendedLifetime((first, second)) {} }
        let batches = [one.batch(step: 0, sequences: 0..<4), one.batch(step: 1, sequences: 0..<4)]
        #expect(Set((batches + [two.batch(step: 0, sequences: 0..<4)]).flatMap(\.tokens)).count == 12)
        #expect(one.batch(step: 0, sequences: 2..<3).tokens == [batches[0].tokens[2]])
    }
}
