/// Gives pairs that come to a rank their places, chunk by chunk.
struct PlaceCursor {
    private let arriving: ArrivingPairs
    private let received: [TokenRows?]
    private let firstRows: [Int]
    private let shards: PlacedShards
    private let rank: Int
    private let expertCount: Int
    /// The next pair of each rank.
    private var next: [Int]

    /// - Parameters:
    ///   - received: rows that come from each other rank.
    ///   - firstRows: where they begin among all that arrive.
    init(
        _ arriving: ArrivingPairs, _ received: [TokenRows?], firstRows: [Int], shards: PlacedShards, rank: Int,
        expertCount: Int
    ) {
        self.arriving = arriving
        self.received = received
        self.firstRows = firstRows
        (self.shards, self.rank, self.expertCount) = (shards, rank, expertCount)
        next = arriving.ranges.map(\.lowerBound)
    }

    /// The places of a chunk, which is the next.
    /// - Parameter leastRows: what each expert's rows are filled up to; empty: nothing.
    mutating func next(_ chunk: Int, leastRows: [Int]) -> PairPlaces {
        let own = shards.ranges[rank]
        let counts = arriving.ranges.indices.map(arriving.counts(from:))
        var expertRows = [Range<Int>](repeating: 0..<0, count: expertCount)
        var padding = [Range<Int>]()
        var runs = [(places: Range<Int>, isOwn: Bool, parts: [(source: Int, pairs: Range<Int>)])]()
        var place = 0
        for shard in own where shards.chunks[shard] == chunk {
            let start = place
            for (source, counts) in counts.enumerated() {
                let count = Int(counts[counts.startIndex + shard - own.lowerBound])
                if count == 0 { continue }
                let isOwn = source == rank
                if runs.last?.isOwn != isOwn || runs.last?.places.upperBound != place {
                    runs.append((place..<place, isOwn, []))
                }
                place += count
                runs[runs.count - 1].places = runs[runs.count - 1].places.lowerBound..<place
                runs[runs.count - 1].parts.append((source, next[source]..<next[source] + count))
                next[source] += count
            }
            let expert = shards.experts[shard]
            if !leastRows.isEmpty, place - start < leastRows[expert] {
                padding.append(place..<start + leastRows[expert])
                place = start + leastRows[expert]
            }
            expertRows[expert] = start..<place
        }
        var pairs = [Int32](repeating: -1, count: place)
        for run in runs {
            var place = run.places.lowerBound
            for part in run.parts {
                for pair in part.pairs {
                    pairs[place] = Int32(truncatingIfNeeded: pair)
                    place += 1
                }
            }
        }
        return PairPlaces(
            expertRows: expertRows, padding: padding,
            runs: runs.map { self.run($0.places, isOwn: $0.isOwn, $0.parts) }, pairs: pairs)
    }

    private func run(
        _ places: Range<Int>, isOwn: Bool, _ parts: [(source: Int, pairs: Range<Int>)]
    ) -> PairPlaces.Run {
        var run = PairPlaces.Run(places: places, isOwn: isOwn)
        run.rows.reserveCapacity(places.count)
        run.targets.reserveCapacity(places.count)
        run.weights.reserveCapacity(places.count)
        for (source, pairs) in parts {
            run.weights += arriving.weights[pairs]
            guard let rows = received[source] else {
                run.rows += arriving.rows[pairs]
                run.targets += arriving.rows[pairs]
                continue
            }
            let first = Int32(truncatingIfNeeded: firstRows[source])
            let start = arriving.ranges[source].lowerBound
            for row in arriving.rows[pairs] { run.rows.append(first + row) }
            for row in rows.back[pairs.lowerBound - start..<pairs.upperBound - start] {
                run.targets.append(first + row)
            }
        }
        return run
    }
}
