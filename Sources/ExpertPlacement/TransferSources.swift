/// Chooses who sends what ranks lack, so that all send about the same.
package struct TransferSources {
    private let nodes: [Int]
    /// What each rank sends so far, in neurons of one matrix set.
    private var sent: [Int]
    /// The last segment that each rank had.
    private var marks: [Int]
    private var segment = 0
    private var candidates = [Candidate]()

    /// - Parameter nodes: node of each rank.
    package init(nodes: [Int]) {
        precondition(nodes.count <= 1 << Candidate.distanceBits, "\(nodes.count) ranks")
        self.nodes = nodes
        sent = [Int](repeating: 0, count: nodes.count)
        marks = sent
    }

    /// The transfers that give every rank of `need` what it has not got by `have`, by destination, source and neurons.
    /// - Parameters:
    ///   - have: covers every neuron that `need` names.
    ///   - cost: of one neuron.
    ///   - uncut: whether neurons before and behind a bound may travel from a source to a destination as one range.
    package mutating func transfers(
        expert: Int, from have: [RankRange], to need: [RankRange], cost: Int, uncut: (Int, Int, Int) -> Bool
    ) -> [NeuronTransfer] {
        var transfers = [NeuronTransfer]()
        send(from: have, to: need, cost: cost) { neurons, source, destination in
            transfers.append(
                NeuronTransfer(expert: expert, neurons: neurons, source: source, destination: destination))
        }
        return transfers.count > 1 ? joined(transfers, uncut: uncut) : transfers
    }

    /// The same transfers in no order, and neighbouring ones apart: neurons, source and destination of each.
    mutating func send(
        from have: [RankRange], to need: [RankRange], cost: Int, _ body: (Range<Int>, Int, Int) -> Void
    ) {
        if Self.follow(have), Self.follow(need) { return sendOwned(from: have, to: need, cost: cost, body) }
        let bounds = Self.bounds(have, need)
        var holders = ActiveRanges(have)
        var takers = ActiveRanges(need)
        for (lower, upper) in zip(bounds, bounds.dropFirst()) {
            // No range begins or ends within this segment.
            holders.advance(to: lower)
            takers.advance(to: lower)
            segment += 1
            for rank in holders.ranks { marks[rank] = segment }
            for destination in takers.ranks where marks[destination] != segment {
                share(lower..<upper, among: holders.ranks, for: destination, cost: cost, body)
            }
        }
    }

    /// Whether each range begins where the one before it ends, so that every neuron is in one alone.
    private static func follow(_ ranges: [RankRange]) -> Bool {
        for index in ranges.indices.dropFirst()
        where ranges[index].neurons.lowerBound != ranges[index - 1].neurons.upperBound { return false }
        return true
    }

    /// The same where every neuron has one holder and one taker, as owners are.
    private mutating func sendOwned(
        from have: [RankRange], to need: [RankRange], cost: Int, _ body: (Range<Int>, Int, Int) -> Void
    ) {
        var index = 0
        for taker in need {
            while index < have.count, have[index].neurons.upperBound <= taker.neurons.lowerBound { index += 1 }
            var next = index
            while next < have.count, have[next].neurons.lowerBound < taker.neurons.upperBound {
                let neurons = have[next].neurons.clamped(to: taker.neurons)
                if have[next].rank != taker.rank, !neurons.isEmpty {
                    body(neurons, have[next].rank, taker.rank)
                    sent[have[next].rank] += neurons.count * cost
                }
                next += 1
            }
        }
    }

    /// Where ranges begin or end, ascending.
    private static func bounds(_ have: [RankRange], _ need: [RankRange]) -> [Int] {
        var bounds = [Int]()
        for ranges in [have, need] {
            for range in ranges {
                if bounds.last != range.neurons.lowerBound { bounds.append(range.neurons.lowerBound) }
                bounds.append(range.neurons.upperBound)
            }
        }
        bounds.sort()
        var distinct = 0
        for bound in bounds where distinct == 0 || bounds[distinct - 1] != bound {
            bounds[distinct] = bound
            distinct += 1
        }
        return Array(bounds.prefix(distinct))
    }

    /// What each holder sends of a segment to `destination`: the least busy of its node fill up to one level.
    private mutating func share(
        _ segment: Range<Int>, among holders: [Int], for destination: Int, cost: Int,
        _ body: (Range<Int>, Int, Int) -> Void
    ) {
        candidates.removeAll(keepingCapacity: true)
        // From the destination on: where all are about equally busy, they are nearly sorted by that.
        let start = holders.firstIndex { $0 >= destination } ?? 0
        let node = nodes[destination]
        for rank in holders[start...] where nodes[rank] == node { append(rank, destination) }
        for rank in holders[..<start] where nodes[rank] == node { append(rank, destination) }
        if candidates.isEmpty {
            for rank in holders[start...] { append(rank, destination) }
            for rank in holders[..<start] { append(rank, destination) }
        }
        candidates.sort()
        var (chosen, sum) = (0, segment.count * cost)
        while chosen < candidates.count, sum > chosen * candidates[chosen].sent {
            sum += candidates[chosen].sent
            chosen += 1
        }
        let level = chosen > 0 ? (sum + chosen - 1) / chosen : 0
        var next = segment.lowerBound
        for index in 0..<chosen where next < segment.upperBound {
            let candidate = candidates[index]
            let rest = segment.upperBound - next
            let wanted = level - candidate.sent + cost - 1
            let share = index == chosen - 1 ? rest : min(rest, cost == 1 ? wanted : wanted / cost)
            if share <= 0 { continue }
            var rank = destination + candidate.distance
            if rank >= nodes.count { rank -= nodes.count }
            body(next..<next + share, rank, destination)
            sent[rank] += share * cost
            next += share
        }
    }

    private mutating func append(_ rank: Int, _ destination: Int) {
        let distance = rank - destination
        candidates.append(Candidate(sent: sent[rank], distance: distance < 0 ? distance + nodes.count : distance))
    }

    /// A rank that may send, so far behind the destination: equally busy ones take turns by distance, so that not all ask the
    /// lowest.
    private struct Candidate: Comparable {
        private let key: Int

        init(sent: Int, distance: Int) { key = sent << Self.distanceBits | distance }

        static let distanceBits = 16
        var sent: Int { key >> Self.distanceBits }
        var distance: Int { key & (1 << Self.distanceBits - 1) }

        static func < (a: Candidate, b: Candidate) -> Bool { a.key < b.key }
    }

    /// Neighbouring ranges with the same way made one.
    private func joined(_ transfers: [NeuronTransfer], uncut: (Int, Int, Int) -> Bool) -> [NeuronTransfer] {
        let sorted = transfers.sorted {
            ($0.destination, $0.source, $0.neurons.lowerBound) < ($1.destination, $1.source, $1.neurons.lowerBound)
        }
        var joined = [NeuronTransfer]()
        for transfer in sorted {
            if let last = joined.last, last.destination == transfer.destination, last.source == transfer.source,
                last.neurons.upperBound == transfer.neurons.lowerBound,
                uncut(transfer.neurons.lowerBound, transfer.source, transfer.destination)
            {
                joined[joined.count - 1] = NeuronTransfer(
                    expert: transfer.expert, neurons: last.neurons.lowerBound..<transfer.neurons.upperBound,
                    source: transfer.source, destination: transfer.destination)
            } else {
                joined.append(transfer)
            }
        }
        return joined
    }
}

/// The ranks whose ranges a segment lies in, from the first segment on.
private struct ActiveRanges {
    private let ranges: [RankRange]
    /// The next that begins.
    private var next = 0
    private var active = [RankRange]()
    /// Ascending, none twice.
    private(set) var ranks = [Int]()

    init(_ ranges: [RankRange]) {
        // Owners ascend, and residents of TP 1 all begin at 0.
        let ascend = zip(ranges, ranges.dropFirst()).allSatisfy { $0.neurons.lowerBound <= $1.neurons.lowerBound }
        self.ranges = ascend ? ranges : ranges.sorted { $0.neurons.lowerBound < $1.neurons.lowerBound }
    }

    mutating func advance(to neuron: Int) {
        let ended = active.count
        active.removeAll { $0.neurons.upperBound <= neuron }
        var hasChanged = active.count != ended
        while next < ranges.count, ranges[next].neurons.lowerBound <= neuron {
            // One without neurons holds none.
            if ranges[next].neurons.upperBound > neuron {
                active.append(ranges[next])
                hasChanged = true
            }
            next += 1
        }
        guard hasChanged else { return }
        ranks.removeAll(keepingCapacity: true)
        for range in active { ranks.append(range.rank) }
        if ranks.count < 2 { return }
        ranks.sort()
        var distinct = 0
        for rank in ranks where distinct == 0 || ranks[distinct - 1] != rank {
            ranks[distinct] = rank
            distinct += 1
        }
        ranks.removeLast(ranks.count - distinct)
    }
}
