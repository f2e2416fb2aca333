import MessagePassing

/// Blocks that lie apart, in another order than they travel, several from one rank to another and to the own rank.
struct Exchange: TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _ type: Element.Type) throws {
        for lengths in [[], [0], [3], [1, 0, 2_000, 7]] {
            func block(_ source: Int, _ destination: Int, _ index: Int) -> [Element] {
                entries(of: source * group.size + destination, lengths[index], salt: index)
            }
            // Kept in one array each, so that their memory stays.
            let ranks = Array((0..<group.size).reversed())
            let sent = ranks.flatMap { rank in lengths.indices.map { block(group.rank, rank, $0) } }
            let length = lengths.reduce(0, +)
            let gap = 2
            var received = [Element](
                repeating: Element(sample: 1), count: group.size * (length + gap * lengths.count))
            var starts = [Int]()
            try received.withUnsafeMutableBufferPointer { memory in
                var incoming = [IncomingBlock<Element>]()
                var start = 0
                for rank in 0..<group.size {
                    for count in lengths {
                        var span = MutableSpan(_unsafeElements: memory.extracting(start..<start + count))
                        incoming.append(IncomingBlock(&span, from: rank))
                        starts.append(start)
                        start += count + gap
                    }
                }
                let joined = Array(sent.joined())
                try joined.withUnsafeBufferPointer { source in
                    var outgoing = [OutgoingBlock<Element>]()
                    var place = 0
                    for rank in ranks {
                        for count in lengths {
                            let entries = Span(_unsafeElements: source.extracting(place..<place + count))
                            outgoing.append(OutgoingBlock(entries, to: rank))
                            place += count
                        }
                    }
                    try group.exchange(outgoing, incoming)
                }
            }
            var expected = [Element](repeating: Element(sample: 1), count: received.count)
            for rank in 0..<group.size {
                for index in lengths.indices {
                    let start = starts[rank * lengths.count + index]
                    expected.replaceSubrange(
                        start..<start + lengths[index], with: block(rank, group.rank, index))
                }
            }
            try expect(received, equals: expected, "blocks of \(lengths) of \(type)")
        }
        do {
            try group.exchange([OutgoingBlock([Element](repeating: .zero, count: 1).span, to: group.size)], [])
        } catch CommunicatorError.invalidArgument {
            return
        }
        throw ConformanceFailure(description: "a block for a rank beyond the group was not refused")
    }
}
