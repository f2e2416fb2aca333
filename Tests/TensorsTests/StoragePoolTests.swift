import Tensors
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
        #expect(first.base != second.base)
        pool.give(first.base, count: 1_000, capacity: first.capacity)
        let third = pool.take(count: 990)
        #expect(third.base == first.base)
        pool.give(second.base, count: 1_000, capacity: second.capacity)
        pool.give(third.base, count: 990, capacity: third.capacity)
        #expect(pool.take(count: 10).base != first.base)
    }

    @Test func useIsWhatWasAskedFor() {
        let pool = StoragePool()
        let first = pool.take(count: 1_000)
        let second = pool.take(count: 10)
        pool.give(first.base, count: 1_000, capacity: first.capacity)
        #expect(pool.use.bytes == 40)
        #expect(pool.use.peakBytes == 4_040)
        pool.resetPeak()
        #expect(pool.use.peakBytes == 40)
        pool.give(second.base, count: 10, capacity: second.capacity)
        #expect(pool.use.bytes == 0)
    }

    @Test func blocksAreAligned() {
        let pool = StoragePool()
        for count in [1, 63, 64, 65, 1_000, 100_000] {
            #expect(Int(bitPattern: pool.take(count: count).base) % 64 == 0)
        }
    }

    /// Pages that the system has back read as zeros.
    @Test func trimmingKeepsWhatWasFreeAndGivesTheRestBack() {
        let pool = StoragePool()
        let count = 3 << 20
        func takeTwo() -> [UnsafeMutablePointer<Float>] {
            (0..<2).map { _ in pool.take(count: count).base }
        }
        let blocks = takeTwo()
        for block in blocks { block.update(repeating: 1, count: count) }
        pool.give(blocks[0], count: count, capacity: count)
        let usual = pool.freeBlocks
        pool.trim(to: usual)
        #expect(blocks[0][count - 1] == 1)
        pool.give(blocks[1], count: count, capacity: count)
        pool.trim(to: usual)
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
