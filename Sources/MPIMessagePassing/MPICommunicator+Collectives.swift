import CMPI
import MessagePassing

extension MPICommunicator {
    public func barrier() throws {
        try check(MPI_Barrier(handle), "MPI_Barrier")
    }

    public func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws {
        try checkRank(root, role: "root", call: "broadcast")
        try values.withUnsafeMutableBufferPointer { try broadcast($0, root: root) }
    }

    public func allReduce<Element: MessageElement>(
        _ values: inout MutableSpan<Element>, _ operation: Reduction
    ) throws {
        try values.withUnsafeMutableBufferPointer { values in
            for part in parts(of: values.count) {
                try check(
                    MPI_Allreduce(
                        cmpi_in_place(), values.baseAddress.map { $0 + part.lowerBound }, Int32(part.count),
                        Element.messageType.handle, operation.handle, handle),
                    "MPI_Allreduce")
            }
        }
    }

    public func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        let layout = try BlockLayout(counts, size: size, entries: values.count, call: "allGather")
        try layout.checkBlock(of: rank, entries: block.count, call: "allGather")
        try block.withUnsafeBufferPointer { source in
            try values.withUnsafeMutableBufferPointer { all in
                if layout.total <= largestCount {
                    try check(
                        MPI_Allgatherv(
                            source.baseAddress, Int32(source.count), Element.messageType.handle,
                            all.baseAddress, counts.map(Int32.init), layout.offsets.map(Int32.init),
                            Element.messageType.handle, handle),
                        "MPI_Allgatherv")
                    return
                }
                // The counts are the same on all ranks, so all take this way.
                for root in 0..<size {
                    let place = layout.offsets[root]..<layout.offsets[root] + counts[root]
                    let blockOfRoot = UnsafeMutableBufferPointer(rebasing: all[place])
                    if root == rank, !source.isEmpty { _ = blockOfRoot.update(from: source) }
                    try broadcast(blockOfRoot, root: root)
                }
            }
        }
    }

    private func broadcast<Element: MessageElement>(_ values: UnsafeMutableBufferPointer<Element>, root: Int) throws {
        for part in parts(of: values.count) {
            try check(
                MPI_Bcast(
                    values.baseAddress.map { $0 + part.lowerBound }, Int32(part.count), Element.messageType.handle,
                    Int32(root), handle),
                "MPI_Bcast")
        }
    }

    /// Cuts 0 ..< `count` into ranges that MPI can count; none when there are no entries.
    func parts(of count: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: largestCount).map { $0..<min($0 + largestCount, count) }
    }
}
