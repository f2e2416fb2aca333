import MessagePassing

/// Calls a collective and compares what this rank gets with what it should, computed from all ranks' entries.
enum Collective {
    static func broadcast<Element: SampleElement>(
        _ group: any Communicator, _: Element.Type, count: Int, root: Int, salt: Int = 0
    ) throws {
        var values: [Element] = entries(of: group.rank, count, salt: salt)
        var span = values.mutableSpan
        try group.broadcast(&span, root: root)
        try expect(
            values, equals: entries(of: root, count, salt: salt),
            "broadcast of \(count) \(Element.self) from \(root)")
    }

    static func allReduce<Element: SampleElement>(
        _ group: any Communicator, _: Element.Type, count: Int, operation: Reduction, salt: Int = 0
    ) throws {
        var values: [Element] = entries(of: group.rank, count, salt: salt)
        var span = values.mutableSpan
        try group.allReduce(&span, operation)
        let all = (0..<group.size).map { entries(of: $0, count, salt: salt) as [Element] }
        let expected = (0..<count).map { index -> Element in
            let column = all.map { $0[index] }
            return switch operation {
            case .sum: column.reduce(.zero, +)
            case .minimum: column.min() ?? .zero
            case .maximum: column.max() ?? .zero
            }
        }
        try expect(values, equals: expected, "\(operation) of \(count) \(Element.self)")
    }

    static func allGather<Element: SampleElement>(
        _ group: any Communicator, _: Element.Type, counts: [Int], salt: Int = 0
    ) throws {
        let block: [Element] = entries(of: group.rank, counts[group.rank], salt: salt)
        var values = [Element](repeating: .zero, count: counts.reduce(0, +))
        var span = values.mutableSpan
        try group.allGather(block.span, counts: counts, into: &span)
        let expected = counts.enumerated().flatMap { entries(of: $0.offset, $0.element, salt: salt) as [Element] }
        try expect(values, equals: expected, "allGather of \(Element.self) with counts \(counts)")
    }

    /// - Parameter counts: entries from each rank (rows) to each (columns).
    static func allToAll<Element: SampleElement>(
        _ group: any Communicator, _: Element.Type, counts: [[Int]], salt: Int = 0
    ) throws {
        func block(from source: Int, to destination: Int) -> [Element] {
            entries(of: source * group.size + destination, counts[source][destination], salt: salt)
        }
        let values = (0..<group.size).flatMap { block(from: group.rank, to: $0) }
        let receiveCounts = counts.map { $0[group.rank] }
        var received = [Element](repeating: .zero, count: receiveCounts.reduce(0, +))
        var span = received.mutableSpan
        try group.allToAll(values.span, sendCounts: counts[group.rank], into: &span, receiveCounts: receiveCounts)
        let expected = (0..<group.size).flatMap { block(from: $0, to: group.rank) }
        try expect(received, equals: expected, "allToAll of \(Element.self) with counts \(counts)")
    }
}

struct Broadcast: TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        for root in 0..<group.size {
            for count in [0, 1, 7, 1_000] { try Collective.broadcast(group, type, count: count, root: root) }
        }
    }
}

struct AllReduce: TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        for operation in Reduction.allCases {
            for count in [0, 1, 2, 7, 1_000] {
                try Collective.allReduce(group, type, count: count, operation: operation)
            }
        }
    }
}

struct AllGather: TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        for counts in countPatterns(size: group.size) { try Collective.allGather(group, type, counts: counts) }
    }
}

struct AllToAll: TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        let patterns = countPatterns(size: group.size)
        for (index, pattern) in patterns.enumerated() {
            try Collective.allToAll(group, type, counts: patterns[index].map { _ in pattern })
            // One rank sends all, then one rank gets all.
            try Collective.allToAll(
                group, type,
                counts: (0..<group.size).map { $0 == 0 ? pattern : [Int](repeating: 0, count: group.size) })
            try Collective.allToAll(
                group, type,
                counts: pattern.map { count in (0..<group.size).map { $0 == group.size - 1 ? count : 0 } })
        }
    }
}
