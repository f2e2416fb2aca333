import Glibc
import Synchronization

/// Memory of tensors, kept when they go for those that come, because the system's allocator returns large blocks to the kernel and
/// pays for fresh pages at each step. When experts have moved, what they have left is of no use any more: `trim` gives it back.
package final class StoragePool: Sendable {
    package static let shared = StoragePool()

    private struct Block: @unchecked Sendable {  // A free block belongs to the pool alone.
        let base: UnsafeMutablePointer<Float>
    }
    private struct State: @unchecked Sendable {  // As above.
        /// Of blocks that are not large, by capacity.
        var free = [Int: [Block]]()
        var arena = Arena()
        /// Of blocks that are not large, free or not.
        var smallBytes = 0
        var use = Use()
    }
    private let state = Mutex(State())

    /// Bytes that tensors asked for and have not given back, of all ranks of this process.
    package struct Use: Sendable {
        package var bytes = 0
        /// The most since `resetPeak`.
        package var peakBytes = 0
    }

    /// Entries of a block that the arena has. Smaller ones would cut it to pieces.
    private static let largeCount = 1 << 12

    package init() {}

    /// Size classes of blocks that are not large: powers of two and the three quarters between, at least 64 entries.
    package static func capacity(for count: Int) -> Int {
        guard count > 64 else { return 64 }
        let power = 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
        return count <= power / 4 * 3 ? power / 4 * 3 : power
    }

    /// Uninitialised memory for `count` entries.
    package func take(count: Int) -> UnsafeMutablePointer<Float> {
        let block = state.withLock { state -> Block? in
            state.use.bytes += count * MemoryLayout<Float>.stride
            state.use.peakBytes = max(state.use.peakBytes, state.use.bytes)
            if count < Self.largeCount {
                let capacity = Self.capacity(for: count)
                if let block = state.free[capacity]?.popLast() { return block }
                state.smallBytes += capacity * MemoryLayout<Float>.stride
                return nil
            }
            let bytes = Self.arenaBytes(count)
            return Block(base: state.arena.take(bytes).bindMemory(to: Float.self, capacity: count))
        }
        if let block { return block.base }
        let capacity = Self.capacity(for: count)
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<Float>.stride, alignment: Storage.alignment)
        return raw.bindMemory(to: Float.self, capacity: capacity)
    }

    /// Takes back what `take` gave for as many entries.
    package func give(_ base: UnsafeMutablePointer<Float>, count: Int) {
        let block = Block(base: base)
        state.withLock { state in
            state.use.bytes -= count * MemoryLayout<Float>.stride
            if count < Self.largeCount {
                state.free[Self.capacity(for: count), default: []].append(block)
            } else {
                state.arena.give(UnsafeMutableRawPointer(block.base), Self.arenaBytes(count))
            }
        }
    }

    /// Bytes that the pool has had from the system, those that the system has back included: it grows when tensors need memory that
    /// none had before.
    package var takenBytes: Int { state.withLock { $0.smallBytes + $0.arena.touchedBytes } }

    /// Bytes of large blocks that are free: what a training step takes and gives back, when it is asked between two.
    package var freeBytes: Int { state.withLock { $0.arena.freeBytes } }

    /// Gives the system the memory of large free blocks back, as far as it is more than `kept` bytes.
    package func trim(to kept: Int) { state.withLock { $0.arena.trim(to: kept) } }

    private static func arenaBytes(_ count: Int) -> Int {
        let bytes = count * MemoryLayout<Float>.stride
        return (bytes + Storage.alignment - 1) / Storage.alignment * Storage.alignment
    }

    /// What the tensors of this process take now, and took at most since `resetPeak`.
    package var use: Use { state.withLock { $0.use } }

    package func resetPeak() { state.withLock { $0.use.peakBytes = $0.use.bytes } }
}
