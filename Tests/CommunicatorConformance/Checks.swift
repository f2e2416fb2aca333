import MessagePassing
import Randomness

extension CommunicatorConformance {
    static func ranks(_ group: any Communicator, seed: UInt64) throws {
        try group.barrier()
        var ranks = [Int](repeating: -1, count: group.size)
        var span = ranks.mutableSpan
        try group.allGather([group.rank].span, counts: [Int](repeating: 1, count: group.size), into: &span)
        try expect(ranks, equals: Array(0..<group.size), "ranks")
        try group.barrier()
    }

    static func split(_ group: any Communicator, seed: UInt64) throws {
        let (rank, size) = (group.rank, group.size)
        // Even and odd ranks, in reverse order.
        let parity = try group.split(color: rank % 2, key: -rank)
        let members = Array((0..<size).filter { $0 % 2 == rank % 2 }.reversed())
        try expect(parity.size, equals: members.count, "size after split by parity")
        try expect(members[parity.rank], equals: rank, "rank after split by parity")
        try onEveryType(AllToAll(), parity)

        // Equal keys: order by rank.
        let same = try group.split(color: 3, key: 0)
        try expect([same.rank, same.size], equals: [rank, size], "rank and size after a split into one group")
        try onEveryType(AllReduce(), same)

        // Each rank alone.
        let alone = try group.split(color: rank, key: 5)
        try expect([alone.rank, alone.size], equals: [0, 1], "rank and size alone")
        try onEveryType(AllToAll(), alone)
        try onEveryType(AllGather(), group)
    }

    static func nestedSplit(_ group: any Communicator, seed: UInt64) throws {
        let outer = try group.split(color: group.rank / 2, key: group.rank)
        let inner = try outer.split(color: 0, key: -outer.rank)
        try expect(inner.rank, equals: outer.size - 1 - outer.rank, "rank in a group of a group")
        // Calls on the three groups may alternate.
        for _ in 0..<3 {
            try Collective.allReduce(inner, Int.self, count: 5, operation: .sum)
            try Collective.allReduce(outer, Float.self, count: 3, operation: .maximum)
            try Collective.allGather(group, Double.self, counts: [Int](repeating: 2, count: group.size))
        }
    }

    static func identicalSums(_ group: any Communicator, seed: UInt64) throws {
        let generator = CounterBasedGenerator(seed: seed, purpose: "identical sums", keys: [group.rank])
        for count in [1, 33, 5_000] {
            var values = (0..<count).map { Float(generator.normal(at: UInt64($0))) }
            var span = values.mutableSpan
            try group.allReduce(&span, .sum)
            let bits = values.map { Int($0.bitPattern) }
            var lowest = bits
            var highest = bits
            var lowestSpan = lowest.mutableSpan
            try group.allReduce(&lowestSpan, .minimum)
            var highestSpan = highest.mutableSpan
            try group.allReduce(&highestSpan, .maximum)
            try expect(lowest, equals: highest, "bits of sums of \(count) entries (seed \(seed))")
        }
    }

    static func largeBlocks(_ group: any Communicator, seed: UInt64) throws {
        let count = 300_000
        let counts = (0..<group.size).map { source in
            (0..<group.size).map { (source + $0) % 3 == 0 ? 1 : count + source + $0 }
        }
        try Collective.allToAll(group, Float.self, counts: counts)
        try Collective.allReduce(group, Double.self, count: count, operation: .sum)
        let blocks = (0..<group.size).map { count / 2 + $0 }
        try Collective.allGather(group, Int32.self, counts: blocks)
        try Collective.broadcast(group, UInt8.self, count: count, root: group.size - 1)
    }

    static func refusals(_ group: any Communicator, seed: UInt64) throws {
        let size = group.size
        let values = [Float](repeating: 1, count: size)
        var target = [Float](repeating: 0, count: size)
        let ones = [Int](repeating: 1, count: size)
        func refused(_ what: String, _ body: (inout MutableSpan<Float>) throws -> Void) throws {
            var span = target.mutableSpan
            do {
                try body(&span)
            } catch CommunicatorError.invalidArgument {
                return
            }
            throw ConformanceFailure(description: "\(what) was not refused")
        }
        try refused("a root below 0") { try group.broadcast(&$0, root: -1) }
        try refused("a root beyond the group") { try group.broadcast(&$0, root: size) }
        try refused("too few counts") {
            try group.allToAll(values.span, sendCounts: Array(ones.dropLast()), into: &$0, receiveCounts: ones)
        }
        try refused("counts beyond the memory") {
            try group.allToAll(values.span, sendCounts: ones, into: &$0, receiveCounts: ones.map { $0 + 1 })
        }
        try refused("a negative count") {
            try group.allGather(values.span, counts: ones.map { $0 - 2 }, into: &$0)
        }
        try refused("counts whose sum overflows") {
            try group.allGather(values.span, counts: ones.map { _ in Int.max }, into: &$0)
        }
        try refused("a block of another size") { _ in
            let three: [Float] = [0, 0, 0]
            var twos = [Float](repeating: 1, count: 2 * size)
            var span = twos.mutableSpan
            try group.allGather(three.span, counts: ones.map { _ in 2 }, into: &span)
        }
        try refused("a negative color") { _ in _ = try group.split(color: -1, key: 0) }
        try refused("a key beyond 32 bits") { _ in _ = try group.split(color: 0, key: 1 << 40) }
        // The group works on.
        try Collective.allReduce(group, Float.self, count: 3, operation: .sum)
    }

    /// Several exchanges, small and large, with other calls before they are waited for.
    static func pendingExchanges(_ group: any Communicator, seed: UInt64) throws {
        let counts = [3, 200_000, 0, 70]
        let ranks = Array(0..<group.size)
        func values(_ exchange: Int, from source: Int, to destination: Int) -> [Float] {
            entries(of: source * group.size + destination, counts[exchange], salt: exchange)
        }
        let memory = counts.map { count in
            let block = UnsafeMutableBufferPointer<Float>.allocate(capacity: group.size * count)
            block.initialize(repeating: -1)
            return block
        }
        defer {
            for block in memory { block.deallocate() }
        }
        let pending = try counts.indices.map { exchange -> any PendingExchange in
            let count = counts[exchange]
            let sent = ranks.map { values(exchange, from: group.rank, to: $0) }
            let incoming = ranks.map { rank in
                var span = MutableSpan(
                    _unsafeElements: memory[exchange].extracting(rank * count..<(rank + 1) * count))
                return IncomingBlock(&span, from: rank)
            }
            return try group.startExchange(
                zip(sent, ranks).map { OutgoingBlock($0.span, to: $1) }, incoming, keeping: sent)
        }
        try group.progress()
        try Collective.allToAll(group, Int.self, counts: ranks.map { _ in ranks.map { $0 + 1 } })
        try Collective.allReduce(group, Float.self, count: 100, operation: .sum)
        for (exchange, pending) in pending.enumerated() {
            try pending.wait()
            let expected = ranks.flatMap { values(exchange, from: $0, to: group.rank) }
            try expect(Array(memory[exchange]), equals: expected, "exchange \(exchange) of those under way")
        }
    }

    static func randomRounds(_ group: any Communicator, seed: UInt64) throws {
        for round in 0..<60 {
            let generator = CounterBasedGenerator(seed: seed, purpose: "random rounds", keys: [round])
            try RandomRound(generator: generator, round: round).run(group)
        }
    }
}

/// One call with arguments drawn at random, the same on all ranks.
private struct RandomRound {
    let generator: CounterBasedGenerator
    let round: Int

    func run(_ group: any Communicator) throws {
        switch generator.integer(at: 0, below: 5) {
        case 0: try run(group, UInt8.self)
        case 1: try run(group, Int32.self)
        case 2: try run(group, Int.self)
        case 3: try run(group, Float.self)
        default: try run(group, Double.self)
        }
    }

    /// Often 0, seldom large.
    private func count(_ index: Int) -> Int {
        let bound = [1, 3, 20, 3_000][generator.integer(at: UInt64(2 * index + 10), below: 4)]
        return generator.integer(at: UInt64(2 * index + 11), below: bound)
    }

    private func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        let size = group.size
        switch generator.integer(at: 1, below: 4) {
        case 0:
            let root = generator.integer(at: 2, below: size)
            try Collective.broadcast(group, type, count: count(0), root: root, salt: round)
        case 1:
            let operation = Reduction.allCases[generator.integer(at: 2, below: Reduction.allCases.count)]
            try Collective.allReduce(group, type, count: count(0), operation: operation, salt: round)
        case 2: try Collective.allGather(group, type, counts: (0..<size).map { count($0) }, salt: round)
        default:
            let counts = (0..<size).map { source in (0..<size).map { count(source * size + $0) } }
            try Collective.allToAll(group, type, counts: counts, salt: round)
        }
    }
}
