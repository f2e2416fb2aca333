extension ThreadCommunicator {
    public func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws {
        try checkRank(root, role: "root", call: "broadcast")
        try values.withUnsafeMutableBufferPointer { own in
            var contribution = Contribution(
                call: .broadcast(root: root), type: Element.messageType, counts: [own.count])
            contribution.source = UnsafeRawPointer(own.baseAddress)
            try collective(contribution) { all in
                if rank != root { own.copy(from: all[root], at: 0) }
            }
        }
    }

    public func allReduce<Element: MessageElement>(
        _ values: inout MutableSpan<Element>, _ operation: Reduction
    ) throws {
        try values.withUnsafeMutableBufferPointer { own in
            var contribution = Contribution(
                call: .allReduce(operation), type: Element.messageType, counts: [own.count])
            contribution.source = UnsafeRawPointer(own.baseAddress)
            try collective(contribution) { all in
                // Each rank combines one part, in its own memory, where no other rank reads or writes meanwhile.
                let parts = (0..<size).map { own.count * $0 / size..<own.count * ($0 + 1) / size }
                let part = UnsafeMutableBufferPointer(rebasing: own[parts[rank]])
                let sum = combine(all, at: parts[rank].lowerBound, count: part.count, operation, as: Element.self)
                _ = part.update(from: sum)
                try wait(in: contribution)
                for other in 0..<size where other != rank {
                    UnsafeMutableBufferPointer(rebasing: own[parts[other]])
                        .copy(from: all[other], at: parts[other].lowerBound)
                }
            }
        }
    }

    public func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws {
        let layout = try BlockLayout(counts, size: size, entries: values.count, call: "allGather")
        try layout.checkBlock(of: rank, entries: block.count, call: "allGather")
        try block.withUnsafeBufferPointer { source in
            try values.withUnsafeMutableBufferPointer { own in
                var contribution = Contribution(call: .allGather, type: Element.messageType, counts: counts)
                contribution.source = UnsafeRawPointer(source.baseAddress)
                try collective(contribution) { all in
                    for other in 0..<size {
                        let place = layout.offsets[other]..<layout.offsets[other] + layout.counts[other]
                        UnsafeMutableBufferPointer(rebasing: own[place]).copy(from: all[other], at: 0)
                    }
                }
            }
        }
    }

    public func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        _ = try BlockLayout(sendCounts, size: size, entries: values.count, call: "allToAll")
        let arriving = try BlockLayout(receiveCounts, size: size, entries: received.count, call: "allToAll")
        try values.withUnsafeBufferPointer { source in
            try received.withUnsafeMutableBufferPointer { own in
                var contribution = Contribution(call: .allToAll, type: Element.messageType)
                contribution.sendCounts = sendCounts
                contribution.receiveCounts = receiveCounts
                contribution.source = UnsafeRawPointer(source.baseAddress)
                try collective(contribution) { all in
                    for other in 0..<size {
                        let offset = all[other].sendCounts[..<rank].reduce(0, +)
                        let place = arriving.offsets[other]..<arriving.offsets[other] + arriving.counts[other]
                        UnsafeMutableBufferPointer(rebasing: own[place]).copy(from: all[other], at: offset)
                    }
                }
            }
        }
    }

    /// Combines `count` entries from `offset` of all ranks' sources, in rank order.
    private func combine<Element: MessageElement>(
        _ all: [Contribution], at offset: Int, count: Int, _ operation: Reduction, as: Element.Type
    ) -> [Element] {
        if count == 0 { return [] }
        var result = [Element](all[0].entries(at: offset, count: count))
        result.withUnsafeMutableBufferPointer { result in
            for other in all.dropFirst() {
                let entries = other.entries(at: offset, count: count, as: Element.self)
                switch operation {
                case .sum: for index in 0..<count { result[index] += entries[index] }
                case .minimum: for index in 0..<count { result[index] = min(result[index], entries[index]) }
                case .maximum: for index in 0..<count { result[index] = max(result[index], entries[index]) }
                }
            }
        }
        return result
    }
}

extension Contribution {
    /// Entries of `source` as another rank's thread reads them.
    fileprivate func entries<Element>(
        at offset: Int, count: Int, as: Element.Type = Element.self
    ) -> UnsafeBufferPointer<Element> {
        UnsafeBufferPointer(start: source?.assumingMemoryBound(to: Element.self).advanced(by: offset), count: count)
    }
}

extension UnsafeMutableBufferPointer where Element: BitwiseCopyable {
    /// Fills this memory with entries of a contribution, beginning at its entry `offset`.
    fileprivate func copy(from contribution: Contribution, at offset: Int) {
        if isEmpty { return }
        _ = update(from: contribution.entries(at: offset, count: count))
    }
}
