extension ReplicaAssignment {
    /// A change of replicas on the slowest rank and one other.
    private enum Change {
        case add(expert: Int, rank: Int)
        case move(expert: Int, from: Int, to: Int)
        case swap(expert: Int, rank: Int, other: Int, otherRank: Int)
        case replace(expert: Int, rank: Int, dropping: Int)
        case shift(expert: Int, rank: Int, dropping: Int, from: Int)
    }

    /// The most promising changes, best first.
    private struct Candidates {
        static let limit = 6
        /// Ranks to which load may go, at most.
        static let ranks = 16
        var entries = [(gain: Double, change: Change)]()

        /// A change has to gain more than this to be among them.
        var least: Double { entries.count == Self.limit ? entries[Self.limit - 1].gain : -.infinity }

        mutating func offer(_ gain: Double, _ change: @autoclosure () -> Change) {
            if gain <= least { return }
            if entries.count == Self.limit { entries.removeLast() }
            var index = entries.count
            while index > 0, entries[index - 1].gain < gain { index -= 1 }
            entries.insert((gain, change()), at: index)
        }
    }

    /// Changes replicas until the slowest rank is within `target` seconds, no change helps, or the work is as much as
    /// `limit` computed shares. Of the states on the way the one with the lowest `score` remains.
    mutating func improve(target: Double, limit: Int, score: (ReplicaAssignment, _ slowest: Double) -> Double) {
        var best = self
        var seconds = rankSeconds
        var slowest = seconds.max() ?? 0
        var bestScore = score(self, slowest)
        var work = 0
        while slowest > target, work < limit {
            guard let rank = seconds.firstIndex(of: slowest) else { break }
            let candidates = candidates(relieving: rank, seconds: seconds)
            let before = potential
            var accepted = false
            for (_, change) in candidates.entries {
                var trial = self
                trial.apply(change)
                work += 12 * replicaCount
                trial.balance(since: self, tolerance: 1e-3, limit: 12)
                if trial.potential < before * (1 - 1e-7) {
                    self = trial
                    seconds = rankSeconds
                    slowest = seconds.max() ?? 0
                    accepted = true
                    break
                }
            }
            if !accepted { break }
            let value = score(self, slowest)
            if value < bestScore { (best, bestScore) = (self, value) }
        }
        self = best
    }

    private mutating func apply(_ change: Change) {
        switch change {
        case .add(let expert, let rank):
            add(expert, to: rank)
            fill(expert)
        case .move(let expert, let from, let to):
            move(expert, from: from, to: to)
            fill(expert)
        case .swap(let expert, let rank, let other, let otherRank):
            move(expert, from: rank, to: otherRank)
            move(other, from: otherRank, to: rank)
            fill(expert)
            fill(other)
        case .shift(let expert, let rank, let dropping, let from):
            remove(dropping, from: from)
            add(expert, to: rank)
            fill(expert)
        case .replace(let expert, let rank, let dropping):
            remove(dropping, from: rank)
            add(expert, to: rank)
            fill(expert)
        }
    }

    private func candidates(relieving slow: Int, seconds: [Double]) -> Candidates {
        var candidates = Candidates()
        let slowSeconds = seconds[slow]
        let cost = secondsPerRow[slow]
        var shares = [(expert: Int, rows: Double)]()
        for expert in residents[slow] { shares.append((expert, rows(of: expert, on: slow))) }
        let spares = replicaCount < replicaLimit ? [] : spares(seconds: seconds)
        // Fast ranks can take most; the slowest of many would only cost time.
        var others = [(expert: Int, rows: Double, shared: Bool, loss: Double)]()
        var highest = slowSeconds
        if slots.count > Candidates.ranks {
            var fastest = LeastFew<Double>(count: Candidates.ranks + 1)
            for seconds in seconds { fastest.offer(seconds) }
            highest = min(highest, fastest.last ?? highest)
        }
        for rank in slots.indices where rank != slow && seconds[rank] < highest {
            let otherCost = secondsPerRow[rank]
            let difference = slowSeconds - seconds[rank]
            let stiffness = cost + otherCost
            // Potential that goes when `rows` move from the slow rank to the other.
            func gain(_ rows: Double) -> Double { rows * (difference - rows * stiffness / 2) }
            let room = hasRoom(rank)
            others.removeAll(keepingCapacity: true)
            for other in residents[rank] {
                let rows = rows(of: other, on: rank)
                let lost =
                    replicas.count(other) > 1 && !narrows(other, without: rank)
                    ? loss(removing: other, from: rank, rows: rows, seconds: seconds) : .infinity
                let isBarred = holds(slow, other) || narrows(other, without: rank, with: slow)
                others.append((other, rows, isBarred, lost))
            }
            for (expert, rows) in shares where !holds(rank, expert) {
                let shared = min(rows, difference / stiffness)
                let most = gain(shared)
                let mayAdd = !narrows(expert, with: rank)
                let mayMove = !narrows(expert, without: slow, with: rank)
                if room, mayAdd {
                    if replicaCount < replicaLimit {
                        candidates.offer(most, .add(expert: expert, rank: rank))
                    } else {
                        for spare in spares where spare.expert != expert {
                            candidates.offer(
                                most - spare.loss,
                                .shift(expert: expert, rank: rank, dropping: spare.expert, from: spare.rank))
                        }
                    }
                }
                if room, mayMove { candidates.offer(gain(rows), .move(expert: expert, from: slow, to: rank)) }
                // No swap gains more than moving as many rows as would be best.
                let swaps = most > candidates.least
                for other in others {
                    if swaps, mayMove, !other.shared, other.rows < rows {
                        candidates.offer(
                            gain(rows - other.rows),
                            .swap(expert: expert, rank: slow, other: other.expert, otherRank: rank))
                    }
                    if other.loss < .infinity, mayAdd {
                        let wider = difference + other.rows * otherCost
                        let rows = min(rows, wider / stiffness)
                        candidates.offer(
                            rows * (wider - rows * stiffness / 2) - other.loss,
                            .replace(expert: expert, rank: rank, dropping: other.expert))
                    }
                }
            }
        }
        return candidates
    }

    /// Potential that is added when a replica's rows go to the fastest of its expert's other ranks.
    private func loss(removing expert: Int, from rank: Int, rows: Double, seconds: [Double]) -> Double {
        var least = Double.infinity
        for replica in replicas[expert] where replica.rank != rank {
            least = min(least, seconds[replica.rank] + rows * secondsPerRow[replica.rank] / 2)
        }
        return max(0, rows * (least - seconds[rank]))
    }

    /// The replicas that cost least to give up, to make one elsewhere.
    func spares(seconds: [Double]) -> [(expert: Int, rank: Int, loss: Double)] {
        var spares = [(expert: Int, rank: Int, loss: Double)]()
        let cost = secondsPerRow.min() ?? 0
        for expert in loads.indices where replicas.count(expert) > 1 {
            let replicas = replicas[expert]
            let fastest = replicas.reduce(Double.infinity) { min($0, seconds[$1.rank]) }
            for replica in replicas {
                let rows = replica.share * loads[expert]
                // At least as much, which is cheaper to tell.
                if spares.count == 3, rows * (fastest + rows * cost / 2 - seconds[replica.rank]) >= spares[2].loss {
                    continue
                }
                let loss = loss(removing: expert, from: replica.rank, rows: rows, seconds: seconds)
                if spares.count == 3, loss >= spares[2].loss { continue }
                if narrows(expert, without: replica.rank) { continue }
                if spares.count == 3 { spares.removeLast() }
                let index = spares.firstIndex { loss < $0.loss } ?? spares.count
                spares.insert((expert, replica.rank, loss), at: index)
            }
        }
        return spares
    }
}
