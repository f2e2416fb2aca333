extension Communicator {
    /// Concatenates the ranks' blocks, in rank order, on every rank. Collective; all ranks pass the same number of entries.
    public func allGather<Element: MessageElement>(_ block: [Element]) throws -> [Element] {
        guard let first = block.first else { return [] }
        var all = [Element](repeating: first, count: block.count * size)
        var span = all.mutableSpan
        try allGather(block.span, counts: [Int](repeating: block.count, count: size), into: &span)
        return all
    }

    /// The ranks' blocks, in rank order, on every rank, whatever their sizes. Collective.
    public func allGatherBlocks<Element: MessageElement>(_ block: [Element]) throws -> [ArraySlice<Element>] {
        let counts = try allGather([block.count])
        var all = [Element](repeating: .zero, count: counts.reduce(0, +))
        var span = all.mutableSpan
        try allGather(block.span, counts: counts, into: &span)
        var start = 0
        return counts.map { count in
            defer { start += count }
            return all[start..<start + count]
        }
    }
}
