import Tensors
import TestSupport
import Testing

@Suite struct StoragePoolTests {
    @Test func capacitiesHoldTheCountAndWasteAThirdAtMost() {
        for count in 0..<5_000 {
            let capacity = StoragePool.capacity(for: count)
            #expect(capacity >= count)
            if count > 64 { #expect(capacity * 2 <= count * 3, "count \(count)") }
        }
    }

    @Test func aFreedBlockIsTakenAgain() {
        let pool = StoragePool()
        let first = pool.take(count: 1_000)
        let second = pool.take(count: 1_000)
        #expect(first != second)
        pool.give(first, count: 1_000)
        let third = pool.take(count: 990)
        #expect(third == first)
        pool.give(second, count: 1_000)
        pool.give(third, count: 990)
        #expect(pool.take(count: 10) != first)
    }

    @Test func useIsWhatWasAskedFor() {
        let pool = StoragePool()
        let first = pool.take(count: 1_000)
        let second = pool.take(count: 10)
        pool.give(first, count: 1_000)
        #expect(pool.use.bytes == 40)
        #expect(pool.use.peakBytes == 4_040)
        pool.resetPeak()
        #expect(pool.use.peakBytes == 40)
        pool.give(second, count: 10)
        #expect(pool.use.bytes == 0)
    }

    @Test func memoryIsTakenWhenNoneWasFree() {
        let pool = StoragePool()
        for count in [1_000, 200_000] {
            let before = pool.takenBytes
            let first = pool.take(count: count)
            let taken = pool.takenBytes - before
            #expect(taken >= 4 * count && taken <= 6 * count)
            pool.give(first, count: count)
            pool.give(pool.take(count: count - 10), count: count - 10)
            #expect(pool.takenBytes == before + taken)
            let second = pool.take(count: count)
            _ = pool.take(count: count)
            #expect(pool.takenBytes > before + taken)
            pool.give(second, count: count)
        }
        // What the system has back has to be taken anew.
        let before = pool.takenBytes
        pool.trim(to: 0)
        _ = pool.take(count: 200_000)
        #expect(pool.takenBytes >= before + 700_000)
    }

    @Test func blocksAreAligned() {
        let pool = StoragePool()
        for count in [1, 63, 64, 65, 1_000, 100_000, 100_001, 3_000_000] {
            #expect(Int(bitPattern: pool.take(count: count)) % 64 == 0)
        }
    }

    /// Whatever is taken and given back in whatever order: no two blocks overlap, entries stay, and the lowest place is taken.
    @Test func largeBlocksAreApart() {
        var random = SeededGenerator(seed: TestRuns.seed())
        let pool = StoragePool()
        var blocks = [(base: UnsafeMutablePointer<Float>, count: Int, mark: Float)]()
        for round in 0..<2_000 {
            if blocks.count < 40, Bool.random(using: &random) || blocks.isEmpty {
                let count = Int.random(in: 4_096...200_000, using: &random)
                let base = pool.take(count: count)
                let mark = Float(round)
                base.update(repeating: mark, count: count)
                blocks.append((base, count, mark))
            } else {
                let (base, count, mark) = blocks.remove(at: Int.random(in: blocks.indices, using: &random))
                let entries = [base[0], base[count / 2], base[count - 1]]
                #expect(entries == [mark, mark, mark], "round \(round)")
                pool.give(base, count: count)
            }
        }
        for (base, count, _) in blocks { pool.give(base, count: count) }
        #expect(pool.use.bytes == 0)
        // All of it is one piece again, at most as large as what was taken at once with its gaps.
        #expect(pool.freeBytes <= 2 * pool.use.peakBytes)
        let count = pool.freeBytes / 4
        _ = pool.take(count: count)
        #expect(pool.freeBytes == 0)
    }

    @Test func aBlockMayBeLargerThanAChunk() {
        let pool = StoragePool()
        let count = 300 << 20
        let first = pool.take(count: count)
        let second = pool.take(count: 100_000)
        first[count - 1] = 1
        second[99_999] = 2
        #expect(first[count - 1] == 1 && second[99_999] == 2)
        pool.give(first, count: count)
        #expect(pool.take(count: 100_000) == first)
    }

    /// Pages that the system has back read as zeros.
    @Test func trimmingKeepsWhatWasFreeAndGivesTheRestBack() {
        let pool = StoragePool()
        let count = 3 << 20
        func takeTwo() -> [UnsafeMutablePointer<Float>] { (0..<2).map { _ in pool.take(count: count) } }
        let blocks = takeTwo()
        for block in blocks { block.update(repeating: 1, count: count) }
        pool.give(blocks[0], count: count)
        let usual = pool.freeBytes
        #expect(usual == 4 * count)
        pool.trim(to: usual)
        #expect(blocks[0][count - 1] == 1)
        pool.give(blocks[1], count: count)
        pool.trim(to: usual)
        #expect(pool.freeBytes == usual)
        #expect([blocks[0][0], blocks[0][count - 1]] == [1, 1])
        #expect([blocks[1][0], blocks[1][count - 1]] == [0, 0])
        #expect(takeTwo() == blocks)
        #expect(pool.use.bytes == 2 * 4 * count)
    }

    /// The size is one that no other test asks for.
    @Test func tensorsGiveTheirMemoryBack() {
        func address(_ tensor: Tensor) -> UnsafePointer<Float>? {
            tensor.span.withUnsafeBufferPointer { $0.baseAddress }
        }
        let first = address(Tensor(rows: 1, columns: 5_000_000))
        for _ in 0..<10 { #expect(address(Tensor(rows: 2, columns: 2_500_000)) == first) }
    }
}
