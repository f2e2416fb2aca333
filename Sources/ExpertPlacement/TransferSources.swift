/// Chooses who sends what ranks lack, so that all send about the same.
package struct TransferSources {
    private let nodes: [Int]
    /// What each rank sends so far, in neurons of one matrix set.
    private var sent: [Int]

    /// - Parameter nodes: node of each rank.
    package init(nodes: [Int]) {
        self.nodes = nodes
        sent = [Int](repeating: 0, count: nodes.count)
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
        let bounds = Set((have + need).flatMap { [$0.neurons.lowerBound, $0.neurons.upperBound] }).sorted()
        for (lower, upper) in zip(bounds, bounds.dropFirst()) {
            // No range begins or ends within this segment.
            let holders = Set(have.lazy.filter { $0.neurons.contains(lower) }.map(\.rank))
            let missing = Set(need.lazy.filter { $0.neurons.contains(lower) }.map(\.rank)).subtracting(holders)
            for destination in missing.sorted() {
                var next = lower
                for (source, count) in share(upper - lower, among: holders, for: destination, cost: cost) {
                    transfers.append(
                        NeuronTransfer(
                            expert: expert, neurons: next..<next + count, source: source, destination: destination))
                    next += count
                }
            }
        }
        return joined(transfers, uncut: uncut)
    }

    /// How many of `count` neurons each holder sends to `destination`: the least busy of its node fill up to one level.
    private mutating func share(
        _ count: Int, among holders: Set<Int>, for destination: Int, cost: Int
    ) -> [(source: Int, count: Int)] {
        let near = holders.filter { nodes[$0] == nodes[destination] }
        // Equally busy ranks take turns by distance, so that not all ask the lowest.
        let candidates = (near.isEmpty ? holders : near).sorted {
            (sent[$0], distance($0, destination)) < (sent[$1], distance($1, destination))
        }
        var (chosen, sum) = (0, count * cost)
        while chosen < candidates.count, sum > chosen * sent[candidates[chosen]] {
            sum += sent[candidates[chosen]]
            chosen += 1
        }
        let level = chosen > 0 ? (sum + chosen - 1) / chosen : 0
        var rest = count
        var shares = [(source: Int, count: Int)]()
        for (index, source) in candidates.prefix(chosen).enumerated() {
            let isLast = index == chosen - 1
            let share = isLast ? rest : min(rest, (level - sent[source] + cost - 1) / cost)
            if share <= 0 { continue }
            shares.append((source, share))
            sent[source] += share * cost
            rest -= share
        }
        return shares
    }

    private func distance(_ rank: Int, _ other: Int) -> Int { (rank - other + nodes.count) % nodes.count }

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
