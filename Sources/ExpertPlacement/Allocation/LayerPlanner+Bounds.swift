extension LayerPlanner {
    /// Seconds that no placement of a shape can beat, at loads exactly as forecast: of ranks that are all equally busy, with as
    /// many replicas, which have to be kept equal, as it takes for no expert to be too slow.
    func leastSeconds(_ shape: LayerShape) -> Double {
        let even = evenSeconds(sharding: shape.sharded)
        let exchange = exchangeSeconds.min() ?? 0
        let fastest = (costs.slowness.min() ?? 1) / costs.slowness(of: 0)
        let whole = hottest.dropFirst(shape.sharded).map { expert in
            let row = costs.secondsPerRow(neurons: widths[expert], rank: 0) * fastest + exchange
            return (width: widths[expert], seconds: loads[expert] * row)
        }
        guard even > 0, even.isFinite else { return even }
        /// Whether it may be done in so many seconds.
        func isPossible(_ seconds: Double) -> Bool {
            var (further, synchronisation) = (0.0, 0.0)
            for expert in whole where expert.seconds > seconds {
                let replicas = (expert.seconds / seconds).rounded(.up)
                if replicas > Double(worldSize) { return false }
                further += replicas - 1
                synchronisation += synchronisationSeconds(width: expert.width, replicas: replicas)
            }
            let latency = further > 0 ? 2 * costs.exchangeLatencySeconds : 0
            return further <= Double(shape.spares)
                && even + latency + synchronisation / Double(worldSize) <= seconds
        }
        var (low, high) = (even, 2 * even)
        if isPossible(low) { return low }
        while !isPossible(high), high < 1e6 * even { (low, high) = (high, 2 * high) }
        for _ in 0..<10 {
            let middle = (low + high) / 2
            if isPossible(middle) { high = middle } else { low = middle }
        }
        return low
    }

    /// Seconds of all ranks together that replicas of a whole expert spend on being equal, on as many nodes as can be.
    private func synchronisationSeconds(width: Int, replicas: Double) -> Double {
        let nodes = costs.nodeLinks == nil || groups != nil ? 1 : Double(shardRanks.count)
        // Of the others of a replica those on its node are near.
        let near = max(0, replicas / nodes - 1) / max(1, replicas - 1)
        let seconds = costs.synchronisationSeconds(neurons: width, hiddenSize: model.hiddenSize, far: 1 - near)
        // What a replica owns itself, of state that all ranks have a part of, costs nothing.
        let foreign = costs.ownership == .decoupled ? 1 - 1 / Double(worldSize) : 1
        return (replicas - 1) * foreign * seconds
    }

    private func evenSeconds(sharding count: Int) -> Double {
        let speed = (0..<worldSize).reduce(0.0) { $0 + 1 / costs.slowness(of: $1) }
        // Ranks of a large node have most of the others near.
        let exchange = exchangeSeconds.min() ?? 0
        let fastest = costs.slowness.min() ?? 1
        let replicas = Double(shardRanks.count)
        var seconds = costs.exchangeLatencySeconds
        for (place, expert) in hottest.enumerated() {
            let whole = costs.secondsPerRow(neurons: widths[expert], rank: 0) / costs.slowness(of: 0)
            let row = costs.secondsPerRow(neurons: 0, rank: 0) / costs.slowness(of: 0)
            if place < count {
                seconds += loads[expert] * ((row * fastest + exchange) / replicas + (whole - row) / speed)
                seconds += shardSynchronisationSeconds(width: widths[expert])
            } else {
                seconds += loads[expert] * (whole / speed + exchange / Double(worldSize))
            }
        }
        return seconds
    }

    /// Seconds of a rank on being equal to the other nodes in its shard of an expert that is spread.
    private func shardSynchronisationSeconds(width: Int) -> Double {
        guard groups == nil, costs.ownership == .colocated, shardRanks.count > 1, let shards = shardRanks.first?.count
        else { return 0 }
        let foreign = width / max(1, shards) * (shardRanks.count - 1) / shardRanks.count
        return costs.synchronisationSeconds(
            neurons: foreign, hiddenSize: model.hiddenSize, far: costs.nodeLinks == nil ? 0 : 1)
    }
}
