/// Decides for `load-balanced` on one layer: the candidate that, with the cost of getting there, takes the least time
/// over the plan's life.
struct LayerPlanner {
    struct Choice {
        var placement: LayerPlacement
        var before: LayerPrediction
        var after: LayerPrediction
        var change: PlacementChange
        var moveSeconds: Double
        /// Whether the placement in force had to go.
        var isForced = false
    }

    let layer: Int
    let model: ExpertModel
    let cluster: Cluster
    let costs: CostModel
    let options: LoadBalancedAllocator.Options
    let loads: [Double]
    let deviations: [Double]
    /// Those that errors were found to have, for what is only assumed moves nothing.
    let measuredDeviations: [Double]
    /// Experts that each rank may hold.
    let slots: [Int]
    /// Experts by load, the hottest first.
    let hottest: [Int]
    /// Ranks that the layer's meshes list, at most: one for each expert, and the layer's part of what a plan may have besides.
    private let mostRanks: Int
    /// Groups of experts that stay on a node each; nil: experts go anywhere.
    let groups: NodeGroups?
    /// Ranks of each node over which a replica is spread, as many on all.
    let shardRanks: [[Int]]
    /// Seconds of a row in exchanges, W entries.
    let exchangeSeconds: [Double]

    init(
        layer: Int, model: ExpertModel, cluster: Cluster, costs: CostModel, options: LoadBalancedAllocator.Options,
        loads: [Double], deviations: [Double], measuredDeviations: [Double], slots: [Int]
    ) throws(PlacementError) {
        self.layer = layer
        self.model = model
        self.cluster = cluster
        self.costs = costs
        self.options = options
        self.loads = loads
        self.deviations = deviations
        self.measuredDeviations = measuredDeviations
        self.slots = slots
        hottest = loads.indices.sorted { (loads[$0], $1) > (loads[$1], $0) }
        let experts = model.layers.reduce(0) { $0 + $1.count }
        groups = try NodeGroups(groups: options.groups, experts: model.layers[layer].count, nodes: cluster.nodes)
        let nodes = Dictionary(grouping: cluster.nodes.indices) { cluster.nodes[$0] }
            .sorted { $0.value[0] < $1.value[0] }.map(\.value)
        let shards = nodes.map(\.count).min() ?? 0
        shardRanks = nodes.map { Array($0.prefix(shards)) }
        exchangeSeconds = cluster.nodes.indices.map {
            costs.exchangeSecondsPerRow(hiddenSize: model.hiddenSize, worldSize: cluster.nodes.count, rank: $0)
        }
        mostRanks = model.layers[layer].count + max(0, PlacementPlan.rankLimit - experts) / model.layers.count
    }

    var widths: [Int] { model.layers[layer] }
    var worldSize: Int { cluster.worldSize }
    /// Whether searching takes long.
    var isLarge: Bool { ReplicaAssignment.isLarge(ranks: worldSize, experts: widths.count) }

    func predict(_ placement: LayerPlacement) -> LayerPrediction { predict(placement, deviations: deviations) }

    /// Seconds that no placement of whole experts can beat.
    var leastSeconds: Double { leastSeconds(LayerShape(sharded: 0, spares: 2 * worldSize)) }

    /// Whether a plan is over the limit, one of another program or an operator, or does not keep groups together: it has to go whatever
    /// that costs.
    func mustGo(_ current: LayerPlacement) -> Bool {
        !current.fits(slots) || !(groups?.areKept(by: current) ?? true)
    }

    /// - Parameters:
    ///   - before: what is predicted of the placement in force.
    ///   - experience: what shapes came to earlier, kept up to date.
    func choose(
        current: LayerPlacement, before: LayerPrediction, experience: inout ShapeExperience
    ) throws(PlacementError) -> Choice {
        // Most of the time all are measured.
        let isMeasured = deviations == measuredDeviations
        func measured(_ placement: LayerPlacement, _ prediction: LayerPrediction) -> Double {
            isMeasured ? prediction.seconds : predict(placement, deviations: measuredDeviations).seconds
        }
        let measuredBefore = measured(current, before)
        var best = Choice(
            placement: current, before: before, after: before,
            change: change(from: current, to: current), moveSeconds: 0)
        var bestScore = before.seconds * options.life
        let isOver = mustGo(current)
        var mustMove = isOver
        var refusal: PlacementError?
        // Of all that was offered and would be better, taken or not.
        var least = Double.infinity
        /// - Returns: seconds were the loads certain, with their part of what getting there costs unless that is to be paid now.
        @discardableResult
        func offer(_ placement: LayerPlacement) -> Double {
            let after = predict(placement, deviations: deviations)
            let change = change(from: current, to: placement)
            let moveSeconds = costs.seconds(change, hiddenSize: model.hiddenSize)
            let score = after.seconds * options.life + options.margin * moveSeconds
            // What moves anything has to be worth it in this layer, whatever others gain, and not only by what is assumed.
            let most = 1 - options.minimumGain
            // What has to go is no measure: the best of what may come in its place is.
            let worthwhile =
                isOver
                ? placement.fits(slots)
                : change.isEmpty
                    || after.seconds < before.seconds * most
                        && measured(placement, after) < measuredBefore * most
            let isTaken = (mustMove || worthwhile && score < bestScore) && placement.fits(slots)
            let seconds = after.certainSeconds + (isTaken ? 0 : options.margin * moveSeconds / options.life)
            if isTaken || worthwhile { least = min(least, seconds) }
            if isTaken {
                mustMove = false
                bestScore = score
                best = Choice(
                    placement: placement, before: before, after: after, change: change, moveSeconds: moveSeconds)
            }
            return seconds
        }
        if let replicated = try replicated(current: current) { offer(replicated) }
        experience.begin(loads, isLarge: isLarge)
        // With shards, the search for a good number of replicas is not repeated.
        let shapes = shardedCounts.flatMap { count in
            (count == 0 ? spareCounts : [2 * worldSize]).map { LayerShape(sharded: count, spares: $0) }
        }
        let bounds = shapes.map(leastSeconds)
        for index in experience.order(shapes, bounds: bounds) {
            let (shape, bound) = (shapes[index], bounds[index])
            // No candidate can be better than perfectly even ranks, and one nearly as good is good enough.
            let isUniform = shape.sharded == 0 || shape.sharded == widths.count
            let enough = isUniform ? Self.satisfying : Self.promising
            // One that was tried has to promise what a move has to gain.
            let expected = experience.seconds(shape, bound: bound) ?? 0
            let isPromising =
                bound < best.after.seconds * (1 - enough)
                && expected < min(best.after.certainSeconds, least) * (1 - max(enough, options.minimumGain))
            guard mustMove || isPromising else { continue }
            do {
                var seconds = Double.infinity
                for (number, way) in parts(current).enumerated() {
                    let placement = try candidate(
                        shape, parts: way, current: current,
                        anew: &experience.anew[ShapeExperience.Way(shape: shape, number: number), default: [:]])
                    if let placement { seconds = min(seconds, offer(placement)) }
                }
                experience.add(shape, seconds: seconds, best: best.after.certainSeconds, bound: bound)
            } catch {
                refusal = error
            }
        }
        if let refusal, mustMove { throw refusal }
        best.isForced = isOver
        experience.end(best, bound: leastSeconds)
        return best
    }

    /// How far above what is possible, relative, a placement may stay without a search for a better one.
    private static let satisfying = 0.005
    /// What a mixture of shards and replicas might gain, relative, to be tried.
    private static let promising = 0.02

    /// What is placed by itself, in each of the ways to try.
    private func parts(_ current: LayerPlacement) -> [[PlacementPart]] {
        guard let groups else {
            return [[PlacementPart(experts: Array(widths.indices), ranks: Array(0..<worldSize))]]
        }
        let packed = groups.packed(loads: loads, current: current)
        let kept = groups.homes(in: current)
        return [kept, kept == packed ? nil : packed].compactMap { $0 }.map(groups.parts)
    }

    private func predict(_ placement: LayerPlacement, deviations: [Double]) -> LayerPrediction {
        LayerPrediction(
            placement, loads: loads, deviations: deviations, caution: options.caution, costs: costs,
            hiddenSize: model.hiddenSize, worldSize: worldSize, layer: layer)
    }

    private func change(from old: LayerPlacement, to new: LayerPlacement) -> PlacementChange {
        PlacementChange(from: old, to: new, worldSize: worldSize, ownership: costs.ownership, layer: layer)
    }

    /// Seconds a step that a transfer to the busiest rank has to save.
    private var arrivalPrice: Double {
        let widest = widths.max() ?? 0
        let bytes =
            costs.replicaBytes(neurons: widest, hiddenSize: model.hiddenSize)
            + costs.homeBytes(neurons: widest, hiddenSize: model.hiddenSize)
        return options.margin * Double(bytes) / costs.moveBytesPerSecond / options.life
    }

    /// How many spare replicas to try, at most each: twice as many as there are ranks make any load even, half as many too.
    /// Where keeping replicas equal costs time, fewer may be better.
    private var spareCounts: [Int] {
        let room = slots.reduce(0) { $0 + min($1, widths.count) } - widths.count
        let most = min(max(0, room), 2 * worldSize, mostRanks - widths.count)
        let widest = widths.max() ?? 0
        let even = loads.reduce(0, +) / Double(worldSize) * costs.secondsPerRow(neurons: widest, rank: 0)
        let synchronisation = costs.synchronisationSeconds(neurons: widest, hiddenSize: model.hiddenSize)
        guard synchronisation * Double(most) / Double(worldSize) > Self.satisfying * even else {
            // None at all needs no exchanges.
            return most > 0 && 2 * costs.exchangeLatencySeconds > Self.satisfying * even ? [most, 0] : [most]
        }
        return [most] + [worldSize - 1, worldSize / 2, worldSize / 4, 0].filter { $0 < most }
    }

    /// How many of the hottest experts to try spread over all ranks, those first that need no search.
    private var shardedCounts: [Int] {
        guard options.shapes == .any else { return [0] }
        var counts = [widths.count, 0]
        var next = 1
        while next < widths.count {
            counts.append(next)
            next *= 4
        }
        return counts
    }

    /// The placement with the hottest experts spread over the ranks of nodes, and replicas of the others.
    /// - Returns: nil when an expert has too few neurons, or nothing is left to vary.
    private func candidate(
        _ shape: LayerShape, parts: [PlacementPart], current: LayerPlacement, anew: inout [Int: Double]
    ) throws(PlacementError) -> LayerPlacement? {
        let (count, spares) = (shape.sharded, shape.spares)
        let sharded = shardRanks.reduce(0) { $0 + $1.count }
        guard count * sharded + widths.count - count <= mostRanks else { return nil }
        let hot = Set(hottest.prefix(count))
        var experts = current.experts
        for (number, part) in parts.enumerated() {
            let shards = groups == nil ? shardRanks : [part.ranks]
            let spread = part.experts.filter(hot.contains)
            if !spread.isEmpty {
                guard var layout = try ShardSpread(nodes: shards, costs: costs, minimumGain: options.minimumGain) else {
                    return nil
                }
                for expert in spread {
                    guard let placement = try layout.spread(width: widths[expert], current: current.experts[expert])
                    else { return nil }
                    experts[expert] = placement
                }
            }
            let others = part.experts.filter { !hot.contains($0) }
            guard !others.isEmpty else { continue }
            // A shard takes its part of a slot.
            let taken = (spread.count + shards[0].count - 1) / shards[0].count
            let free = part.ranks.map { max(0, slots[$0] - taken) }
            let further = spares * part.ranks.count / worldSize
            let most = (mostRanks - count * sharded) * part.ranks.count / worldSize
            let placed = try replicas(
                of: others, on: part.ranks, slots: free, limit: min(others.count + further, max(others.count, most)),
                current: LayerPlacement(experts: others.map { current.experts[$0] }), anew: &anew[number])
            for (index, expert) in others.enumerated() { experts[expert] = placed.experts[index] }
        }
        return LayerPlacement(experts: experts)
    }

    /// Whole experts on some of the ranks.
    private func replicas(
        of others: [Int], on ranks: [Int], slots: [Int], limit: Int, current: LayerPlacement,
        anew: inout Double?
    ) throws(PlacementError) -> LayerPlacement {
        let widest = widths.max() ?? 1
        let whole = costs.secondsPerRow(neurons: widest, rank: 0)
        let weights = others.map { costs.secondsPerRow(neurons: widths[$0], rank: 0) / whole }
        var places = [Int](repeating: -1, count: worldSize)
        for (place, rank) in ranks.enumerated() { places[rank] = place }
        let inForce = current.replicas(worldSize: worldSize)?.map { replicas in
            let kept = replicas.ranks.indices.filter { places[replicas.ranks[$0]] >= 0 }
            return (ranks: kept.map { places[replicas.ranks[$0]] }, fractions: kept.map { replicas.fractions[$0] })
        }
        let problem = try ReplicaProblem(
            loads: zip(others, weights).map { loads[$0] * $1 },
            deviations: zip(others, weights).map { deviations[$0] * $1 },
            secondsPerRow: ranks.map { costs.secondsPerRow(neurons: widest, rank: $0) + exchangeSeconds[$0] },
            slots: slots, replicaLimit: limit, nodes: ranks.map { cluster.nodes[$0] },
            current: inForce.map { $0.map(\.ranks) },
            currentFractions: isLarge ? inForce.map { $0.map(\.fractions) } : nil)
        let plan = ReplicaPlanner(keeping: max(0.002, options.minimumGain / 2))
            .plan(problem, prices: ReplicaPlanner.Prices(arrival: arrivalPrice), anew: &anew)
        return try ReplicaPlan(ranks: plan.ranks.map { $0.map { ranks[$0] } }, fractions: plan.fractions)
            .placement(widths: others.map { widths[$0] }, current: current)
    }

    /// Every expert whole on every rank, faster ranks with more rows, which no load can make uneven; nil when memory does
    /// not allow that.
    private func replicated(current: LayerPlacement) throws(PlacementError) -> LayerPlacement? {
        guard groups == nil, worldSize > 1, slots.allSatisfy({ $0 >= widths.count }),
            worldSize * widths.count <= mostRanks
        else {
            return nil
        }
        let speeds = (0..<worldSize).map { 1 / costs.slowness(of: $0) }
        let total = speeds.reduce(0, +)
        let plan = ReplicaPlan(
            ranks: widths.map { _ in Array(0..<worldSize) }, fractions: widths.map { _ in speeds.map { $0 / total } })
        return try plan.placement(widths: widths, current: current)
    }
}
