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
        let bounds = Self.bounds(have, need)
        var holders = ActiveRanges(have)
        var takers = ActiveRanges(need)
        for (lower, upper) in zip(bounds, bounds.dropFirst()) {
            // No range begins or ends within this segment.
            holders.advance(to: lower)
            takers.advance(to: lower)
            segment += 1
            for rank in holders.ranks { marks[rank] = segment }
            let missing = takers.ranks.filter { marks[$0] != segment }
            for destination in missing {
                share(lower..<upper, of: expert, among: holders.ranks, for: destination, cost: cost, &transfers)
            }
        }
        return transfers.count > 1 ? joined(transfers, uncut: uncut) : transfers
    }

    /// Where ranges begin or end, ascending.
    private static func bounds(_ have: [RankRange], _ need: [RankRange]) -> [Int] {
        var bounds = [Int]()
        for ranges in [have, need] {
            for range in ranges { bounds += [range.neurons.lowerBound, range.neurons.upperBound] }
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
        _ segment: Range<Int>, of expert: Int, among holders: [Int], for destination: Int, cost: Int,
        _ transfers: inout [NeuronTransfer]
    ) {
        candidates.removeAll(keepingCapacity: true)
        for rank in holders where nodes[rank] == nodes[destination] { candidates.append(candidate(rank, destination)) }
        if candidates.isEmpty { for rank in holders { candidates.append(candidate(rank, destination)) } }
        candidates.sort()
        var (chosen, sum) = (0, segment.count * cost)
        while chosen < candidates.count, sum > chosen * candidates[chosen].sent {
            sum += candidates[chosen].sent
            chosen += 1
        }
        let level = chosen > 0 ? (sum + chosen - 1) / chosen : 0
        var next = segment.lowerBound
        for index in 0..<chosen {
            let candidate = candidates[index]
            let rest = segment.upperBound - next
            let share = index == chosen - 1 ? rest : min(rest, (level - candidate.sent + cost - 1) / cost)
            if share <= 0 { continue }
            transfers.append(
                NeuronTransfer(
                    expert: expert, neurons: next..<next + share, source: candidate.rank, destination: destination))
            sent[candidate.rank] += share * cost
            next += share
        }
    }

    private func candidate(_ rank: Int, _ destination: Int) -> Candidate {
        let distance = rank - destination
        return Candidate(
            sent: sent[rank], distance: distance < 0 ? distance + nodes.count : distance, rank: rank)
    }

    /// A rank that may send: equally busy ones take turns by distance, so that not all ask the lowest.
    private struct Candidate: Comparable {
        let sent: Int
        let distance: Int
        let rank: Int

        static func < (a: Candidate, b: Candidate) -> Bool { (a.sent, a.distance) < (b.sent, b.distance) }
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
