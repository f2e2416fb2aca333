/// Decides for `load-balanced` on one layer: the candidate that, with the cost of getting there, takes the least time
/// over the plan's life.
struct LayerPlanner {
    struct Choice {
        var placement: LayerPlacement
        var before: LayerPrediction
        var after: LayerPrediction
        var change: PlacementChange
        var moveSeconds: Double
        /// Whether the placement in force is over a rank's limit.
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
    /// Experts by load, the hottest first.
    private let hottest: [Int]
    /// Ranks that the layer's meshes list, at most: one for each expert, and the layer's part of what a plan may have besides.
    private let mostRanks: Int
    /// Groups of experts that stay on a node each; nil: experts go anywhere.
    private let groups: NodeGroups?
    /// Ranks of each node over which a replica is spread, as many on all.
    private let shardRanks: [[Int]]

    init(
        layer: Int, model: ExpertModel, cluster: Cluster, costs: CostModel, options: LoadBalancedAllocator.Options,
        loads: [Double], deviations: [Double], measuredDeviations: [Double]
    ) throws(PlacementError) {
        self.layer = layer
        self.model = model
        self.cluster = cluster
        self.costs = costs
        self.options = options
        self.loads = loads
        self.deviations = deviations
        self.measuredDeviations = measuredDeviations
        hottest = loads.indices.sorted { (loads[$0], $1) > (loads[$1], $0) }
        let experts = model.layers.reduce(0) { $0 + $1.count }
        groups = try NodeGroups(groups: options.groups, experts: model.layers[layer].count, nodes: cluster.nodes)
        let nodes = Dictionary(grouping: cluster.nodes.indices) { cluster.nodes[$0] }
            .sorted { $0.value[0] < $1.value[0] }.map(\.value)
        let shards = nodes.map(\.count).min() ?? 0
        shardRanks = nodes.map { Array($0.prefix(shards)) }
        mostRanks = model.layers[layer].count + max(0, PlacementPlan.rankLimit - experts) / model.layers.count
    }

    private var widths: [Int] { model.layers[layer] }
    private var worldSize: Int { cluster.worldSize }
    /// Whether searching takes long.
    private var isLarge: Bool { ReplicaAssignment.isLarge(ranks: worldSize, experts: widths.count) }

    /// - Parameter experience: what shapes came to earlier, kept up to date.
    func choose(current: LayerPlacement, experience: inout ShapeExperience) throws(PlacementError) -> Choice {
        let before = predict(current, deviations: deviations)
        let measuredBefore = predict(current, deviations: measuredDeviations).seconds
        let slots = try SlotBudget.slots(
            layer: layer, model: model, cluster: cluster, fixed: options.slots, costs: costs)
        var best = Choice(
            placement: current, before: before, after: before,
            change: change(from: current, to: current), moveSeconds: 0)
        var bestScore = before.seconds * options.life
        // A plan over the limit, of another program or an operator, has to go whatever it costs, and so does one that does
        // not keep groups together.
        let isOver = !fits(current, slots: slots) || groups.map { $0.homes(in: current) == nil } ?? false
        var mustMove = isOver
        var refusal: PlacementError?
        /// - Returns: seconds were the loads certain, with their part of what getting there costs unless that is to be paid now.
        @discardableResult
        func offer(_ placement: LayerPlacement) -> Double {
            let after = predict(placement, deviations: deviations)
            let change = change(from: current, to: placement)
            let moveSeconds = costs.seconds(change, hiddenSize: model.hiddenSize)
            let score = after.seconds * options.life + options.margin * moveSeconds
            // What moves anything has to be worth it in this layer, whatever others gain, and not only by what is assumed.
            let most = 1 - options.minimumGain
            let worthwhile =
                change.isEmpty
                || after.seconds < before.seconds * most
                    && predict(placement, deviations: measuredDeviations).seconds < measuredBefore * most
            if mustMove || worthwhile && score < bestScore, fits(placement, slots: slots) {
                mustMove = false
                bestScore = score
                best = Choice(
                    placement: placement, before: before, after: after, change: change, moveSeconds: moveSeconds)
                return after.certainSeconds
            }
            return after.certainSeconds + options.margin * moveSeconds / options.life
        }
        if let replicated = try replicated(current: current, slots: slots) { offer(replicated) }
        experience.begin(loads, isLarge: isLarge)
        // With shards, the search for a good number of replicas is not repeated.
        let shapes = shardedCounts.flatMap { count in
            (count == 0 ? spareCounts(slots: slots) : [2 * worldSize]).map { LayerShape(sharded: count, spares: $0) }
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
                && expected < best.after.certainSeconds * (1 - max(enough, options.minimumGain))
            guard mustMove || isPromising else { continue }
            do {
                var seconds = Double.infinity
                for (number, way) in parts(current).enumerated() {
                    let placement = try candidate(
                        shape, parts: way, current: current, slots: slots,
                        anew: &experience.anew[ShapeExperience.Way(shape: shape, number: number), default: [:]])
                    if let placement { seconds = min(seconds, offer(placement)) }
                }
                // One that did not do, whatever the reason, is not tried again before what is in force has become worse.
                experience.add(shape, seconds: max(seconds, best.after.certainSeconds), bound: bound)
            } catch {
                refusal = error
            }
        }
        if let refusal, mustMove { throw refusal }
        best.isForced = isOver
        return best
    }

    /// How far above what is possible, relative, a placement may stay without a search for a better one.
    private static let satisfying = 0.005
    /// What a mixture of shards and replicas might gain, relative, to be tried.
    private static let promising = 0.02

    /// Seconds that no placement of a shape can beat, at loads exactly as forecast: of ranks that are all equally busy, with as
    /// many replicas, which have to be kept equal, as it takes for no expert to be too slow.
    private func leastSeconds(_ shape: LayerShape) -> Double {
        let even = evenSeconds(sharding: shape.sharded)
        let exchange = exchangeSeconds.min() ?? 0
        let fastest = (costs.slowness.min() ?? 1) / slowness(0)
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
        let speed = (0..<worldSize).reduce(0.0) { $0 + 1 / slowness($1) }
        // Ranks of a large node have most of the others near.
        let exchange = exchangeSeconds.min() ?? 0
        let fastest = costs.slowness.min() ?? 1
        let replicas = Double(shardRanks.count)
        var seconds = costs.exchangeLatencySeconds
        for (place, expert) in hottest.enumerated() {
            let whole = costs.secondsPerRow(neurons: widths[expert], rank: 0) / slowness(0)
            let row = costs.secondsPerRow(neurons: 0, rank: 0) / slowness(0)
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

    /// Seconds of a row in exchanges, W entries.
    private var exchangeSeconds: [Double] {
        (0..<worldSize).map {
            costs.exchangeSecondsPerRow(hiddenSize: model.hiddenSize, worldSize: worldSize, rank: $0)
        }
    }

    /// What is placed by itself, in each of the ways to try.
    private func parts(_ current: LayerPlacement) -> [[PlacementPart]] {
        guard let groups else {
            return [[PlacementPart(experts: Array(widths.indices), ranks: Array(0..<worldSize))]]
        }
        let packed = groups.packed(loads: loads, current: current)
        let kept = groups.homes(in: current)
        return [kept, kept == packed ? nil : packed].compactMap { $0 }.map(groups.parts)
    }

    private func slowness(_ rank: Int) -> Double { costs.slowness.isEmpty ? 1 : costs.slowness[rank] }

    private func predict(_ placement: LayerPlacement, deviations: [Double]) -> LayerPrediction {
        LayerPrediction(
            placement, loads: loads, deviations: deviations, caution: options.caution, costs: costs,
            hiddenSize: model.hiddenSize, worldSize: worldSize, layer: layer)
    }

    private func change(from old: LayerPlacement, to new: LayerPlacement) -> PlacementChange {
        PlacementChange(from: old, to: new, worldSize: worldSize, ownership: costs.ownership, layer: layer)
    }

    /// Whether ranks hold no more than their slots, a shard counting as the part of a slot that it is.
    private func fits(_ placement: LayerPlacement, slots: [Int]) -> Bool {
        var held = [Double](repeating: 0, count: worldSize)
        for expert in placement.experts {
            for resident in expert.residents {
                held[resident.rank] += Double(resident.neurons.count) / Double(max(1, expert.width))
            }
        }
        return zip(held, slots).allSatisfy { $0 <= Double($1) + 1e-9 }
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
    private func spareCounts(slots: [Int]) -> [Int] {
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
        _ shape: LayerShape, parts: [PlacementPart], current: LayerPlacement, slots: [Int], anew: inout [Int: Double]
    ) throws(PlacementError) -> LayerPlacement? {
        let (count, spares) = (shape.sharded, shape.spares)
        let sharded = shardRanks.reduce(0) { $0 + $1.count }
        guard count * sharded + widths.count - count <= mostRanks else { return nil }
        let hot = Set(hottest.prefix(count))
        var experts = current.experts
        let exchange = exchangeSeconds
        for (number, part) in parts.enumerated() {
            let shards = groups == nil ? shardRanks : [part.ranks]
            let spread = part.experts.filter(hot.contains)
            for expert in spread {
                guard let placement = try self.spread(expert, over: shards, current: current.experts[expert]) else {
                    return nil
                }
                experts[expert] = placement
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
                exchange: exchange, current: LayerPlacement(experts: others.map { current.experts[$0] }),
                anew: &anew[number])
            for (index, expert) in others.enumerated() { experts[expert] = placed.experts[index] }
        }
        return LayerPlacement(experts: experts)
    }

    /// Whole experts on some of the ranks.
    private func replicas(
        of others: [Int], on ranks: [Int], slots: [Int], limit: Int, exchange: [Double], current: LayerPlacement,
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
            secondsPerRow: ranks.map { costs.secondsPerRow(neurons: widest, rank: $0) + exchange[$0] },
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
    private func replicated(current: LayerPlacement, slots: [Int]) throws(PlacementError) -> LayerPlacement? {
        guard groups == nil, worldSize > 1, slots.allSatisfy({ $0 >= widths.count }),
            worldSize * widths.count <= mostRanks
        else {
            return nil
        }
        let speeds = (0..<worldSize).map { 1 / slowness($0) }
        let total = speeds.reduce(0, +)
        let plan = ReplicaPlan(
            ranks: widths.map { _ in Array(0..<worldSize) }, fractions: widths.map { _ in speeds.map { $0 / total } })
        return try plan.placement(widths: widths, current: current)
    }

    /// The expert over the ranks of nodes, a replica on each, so that its shards add up within a node. Faster ranks get more
    /// neurons, or faster nodes more rows. As it is, when it is so already and that would take little off its slowest shard.
    private func spread(
        _ expert: Int, over nodes: [[Int]], current: ExpertPlacement
    ) throws(PlacementError) -> ExpertPlacement? {
        let shards = nodes[0].count
        guard widths[expert] >= shards, shards > 1 || nodes.count == 1 else { return nil }
        let mesh = try DeviceMesh(
            dataParallel: nodes.count, tensorParallel: shards, ranks: nodes.flatMap { $0 })
        let isUneven = nodes.count == 1 && Set(costs.slowness).count > 1
        let spread = try ExpertPlacement(
            width: widths[expert], mesh: mesh, fractions: fractions(of: nodes),
            cuts: isUneven ? cuts(width: widths[expert], ranks: nodes[0]) : nil)
        let isGoodEnough = rowSeconds(spread) >= rowSeconds(current) * (1 - options.minimumGain)
        return current.mesh == mesh && isGoodEnough ? current : spread
    }

    /// A node's part of the rows, by its slowest rank; nil: even.
    private func fractions(of nodes: [[Int]]) -> [Double]? {
        let speeds = nodes.map { 1 / ($0.map(slowness).max() ?? 1) }
        guard Set(speeds).count > 1 else { return nil }
        let total = speeds.reduce(0, +)
        return speeds.map { $0 / total }
    }

    /// Seconds of the slowest shard on a row of the expert.
    private func rowSeconds(_ placement: ExpertPlacement) -> Double {
        let mesh = placement.mesh
        return (0..<mesh.dataParallel).map { replica in
            (0..<mesh.tensorParallel).map { shard in
                placement.fraction(ofReplica: replica)
                    * costs.secondsPerRow(
                        neurons: placement.neurons(ofShard: shard).count,
                        rank: mesh.rank(replica: replica, shard: shard))
            }.max() ?? 0
        }.max() ?? 0
    }

    /// Cuts with which all of `ranks` take as long for a row, as far as each has a neuron; nil: even ones.
    private func cuts(width: Int, ranks: [Int]) -> [Int]? {
        let speeds = ranks.map { 1 / slowness($0) }
        let row = costs.rowSeconds
        let seconds = (costs.neuronSeconds * Double(width) + row * Double(ranks.count)) / speeds.reduce(0, +)
        // What the row itself leaves of the time; one neuron for each rank, the others by that.
        let parts = speeds.map { max(0, seconds * $0 - row) }
        let total = parts.reduce(0, +)
        guard total > 0, total.isFinite else { return nil }
        var cuts = [0]
        var sum = 0.0
        for (place, part) in parts.enumerated() {
            sum += part
            cuts.append(place + 1 + Int((Double(width - ranks.count) * sum / total).rounded()))
        }
        return cuts
    }
}
