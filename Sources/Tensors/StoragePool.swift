import Glibc
import Synchronization

/// Freed blocks kept for the next request of their size class, because the system's allocator returns large blocks to
/// the kernel and pays for fresh pages at each step. When experts have moved, what they have left is of no use any more:
/// `trim` gives it back.
package final class StoragePool: Sendable {
    package static let shared = StoragePool()

    private struct Block: @unchecked Sendable {  // A free block belongs to the pool alone.
        let base: UnsafeMutablePointer<Float>
    }
    private struct State {
        /// By capacity.
        var free = [Int: [Block]]()
        /// Free ones as well, whose pages the system has back.
        var trimmed = [Int: [Block]]()
        var use = Use()
    }
    private let state = Mutex(State())

    /// Bytes that tensors asked for and have not given back, of all ranks of this process.
    package struct Use: Sendable {
        package var bytes = 0
        /// The most since `resetPeak`.
        package var peakBytes = 0
    }

    /// Large blocks ask for huge pages, which make passes over them up to 40 % faster.
    private static let hugePageBytes = 2 << 20
    private static let largeBytes = 2 * hugePageBytes

    package init() {}

    /// Size classes: powers of two and the three quarters between, at least 64 entries.
    package static func capacity(for count: Int) -> Int {
        guard count > 64 else { return 64 }
        let power = 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
        return count <= power / 4 * 3 ? power / 4 * 3 : power
    }

    package func take(count: Int) -> (base: UnsafeMutablePointer<Float>, capacity: Int) {
        let capacity = Self.capacity(for: count)
        let block = state.withLock { state in
            state.use.bytes += count * MemoryLayout<Float>.stride
            state.use.peakBytes = max(state.use.peakBytes, state.use.bytes)
            return state.free[capacity]?.popLast() ?? state.trimmed[capacity]?.popLast()
        }
        if let block { return (block.base, capacity) }
        let byteCount = Self.bytes(capacity)
        let isLarge = Self.isLarge(capacity)
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: byteCount, alignment: isLarge ? Self.hugePageBytes : Storage.alignment)
        // Advice only: where there are no huge pages, nothing changes.
        if isLarge { madvise(raw, byteCount, MADV_HUGEPAGE) }
        return (raw.bindMemory(to: Float.self, capacity: capacity), capacity)
    }

    package func give(_ base: UnsafeMutablePointer<Float>, count: Int, capacity: Int) {
        let block = Block(base: base)
        state.withLock { state in
            state.use.bytes -= count * MemoryLayout<Float>.stride
            state.free[capacity, default: []].append(block)
        }
    }

    /// Large blocks that are free, by capacity.
    package struct FreeBlocks: Sendable {
        fileprivate var counts = [Int: Int]()
    }

    /// What is free now: what a training step takes and gives back, when it is asked between two.
    package var freeBlocks: FreeBlocks {
        state.withLock { state in FreeBlocks(counts: state.free.filter { Self.isLarge($0.key) }.mapValues(\.count)) }
    }

    /// Gives the system the pages of large free blocks back, as far as more are free than in `kept`. Their addresses stay, for
    /// requests that no other free block fits.
    package func trim(to kept: FreeBlocks) {
        let surplus = state.withLock { state in
            var surplus = [(capacity: Int, block: Block)]()
            for (capacity, blocks) in state.free where Self.isLarge(capacity) {
                let count = max(0, blocks.count - kept.counts[capacity, default: 0])
                surplus += blocks.suffix(count).map { (capacity, $0) }
                state.free[capacity]?.removeLast(count)
            }
            return surplus
        }
        for (capacity, block) in surplus { madvise(block.base, Self.bytes(capacity), MADV_DONTNEED) }
        state.withLock { state in
            for (capacity, block) in surplus { state.trimmed[capacity, default: []].append(block) }
        }
    }

    private static func bytes(_ capacity: Int) -> Int { capacity * MemoryLayout<Float>.stride }
    private static func isLarge(_ capacity: Int) -> Bool { bytes(capacity) >= largeBytes }

    /// What the tensors of this process take now, and took at most since `resetPeak`. For tests of memory.
    package var use: Use { state.withLock { $0.use } }

    package func resetPeak() { state.withLock { $0.use.peakBytes = $0.use.bytes } }
}
