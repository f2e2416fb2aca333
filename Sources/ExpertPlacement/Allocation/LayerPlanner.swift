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

    init(
        layer: Int, model: ExpertModel, cluster: Cluster, costs: CostModel, options: LoadBalancedAllocator.Options,
        loads: [Double], deviations: [Double], measuredDeviations: [Double]
    ) {
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
        mostRanks = model.layers[layer].count + max(0, PlacementPlan.rankLimit - experts) / model.layers.count
    }

    private var widths: [Int] { model.layers[layer] }
    private var worldSize: Int { cluster.worldSize }

    func choose(current: LayerPlacement) throws(PlacementError) -> Choice {
        let before = predict(current, deviations: deviations)
        let measuredBefore = predict(current, deviations: measuredDeviations).seconds
        let slots = try SlotBudget.slots(
            layer: layer, model: model, cluster: cluster, fixed: options.slots, costs: costs)
        var best = Choice(
            placement: current, before: before, after: before,
            change: change(from: current, to: current), moveSeconds: 0)
        var bestScore = before.seconds * options.life
        // A plan over the limit, of another program or an operator, has to go whatever it costs.
        let isOver = !fits(current, slots: slots)
        var mustMove = isOver
        var refusal: PlacementError?
        func offer(_ placement: LayerPlacement) {
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
            guard mustMove || worthwhile && score < bestScore, fits(placement, slots: slots) else { return }
            mustMove = false
            bestScore = score
            best = Choice(
                placement: placement, before: before, after: after, change: change, moveSeconds: moveSeconds)
        }
        if let replicated = try replicated(current: current, slots: slots) { offer(replicated) }
        for count in shardedCounts {
            // With shards, the search for a good number of replicas is not repeated.
            for spares in count == 0 ? spareCounts(slots: slots) : [2 * worldSize] {
                // No candidate can be better than perfectly even ranks, and one nearly as good is good enough.
                let enough = count == 0 || count == widths.count ? Self.satisfying : Self.promising
                guard mustMove || leastSeconds(sharding: count) < best.after.seconds * (1 - enough) else { break }
                do {
                    let placement = try candidate(sharding: count, current: current, slots: slots, spares: spares)
                    if let placement { offer(placement) }
                } catch {
                    refusal = error
                    break
                }
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

    /// Seconds of ranks that are all equally busy, exactly as forecast, with the `count` hottest experts spread.
    private func leastSeconds(sharding count: Int) -> Double {
        let speed = (0..<worldSize).reduce(0.0) { $0 + 1 / slowness($1) }
        let exchange = costs.exchangeSecondsPerRow(hiddenSize: model.hiddenSize, worldSize: worldSize)
        let fastest = costs.slowness.min() ?? 1
        var seconds = costs.exchangeLatencySeconds
        for (place, expert) in hottest.enumerated() {
            let whole = costs.secondsPerRow(neurons: widths[expert], rank: 0) / slowness(0)
            let row = costs.secondsPerRow(neurons: 0, rank: 0) / slowness(0)
            if place < count {
                seconds += loads[expert] * (row * fastest + (whole - row) / speed + exchange)
            } else {
                seconds += loads[expert] * (whole / speed + exchange / Double(worldSize))
            }
        }
        return seconds
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
        return options.margin * Double(bytes) / costs.bytesPerSecond / options.life
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

    /// The placement with the `count` hottest experts spread over all ranks and replicas of the others.
    /// - Returns: nil when an expert has too few neurons, or nothing is left to vary.
    private func candidate(
        sharding count: Int, current: LayerPlacement, slots: [Int], spares: Int
    ) throws(PlacementError) -> LayerPlacement? {
        guard count * worldSize + widths.count - count <= mostRanks else { return nil }
        let hot = Set(hottest.prefix(count))
        let others = widths.indices.filter { !hot.contains($0) }
        var experts = current.experts
        for expert in hot {
            guard let placement = try spread(expert, current: current.experts[expert]) else { return nil }
            experts[expert] = placement
        }
        guard !others.isEmpty else { return LayerPlacement(experts: experts) }
        // A shard takes its part of a slot.
        let taken = (count + worldSize - 1) / worldSize
        let widest = widths.max() ?? 1
        let exchange = costs.exchangeSecondsPerRow(hiddenSize: model.hiddenSize, worldSize: worldSize)
        let whole = costs.secondsPerRow(neurons: widest, rank: 0)
        let weights = others.map { costs.secondsPerRow(neurons: widths[$0], rank: 0) / whole }
        let problem = try ReplicaProblem(
            loads: zip(others, weights).map { loads[$0] * $1 },
            deviations: zip(others, weights).map { deviations[$0] * $1 },
            secondsPerRow: (0..<worldSize).map { costs.secondsPerRow(neurons: widest, rank: $0) + exchange },
            slots: slots.map { max(0, $0 - taken) },
            replicaLimit: min(others.count + spares, mostRanks - count * worldSize),
            current: LayerPlacement(experts: others.map { current.experts[$0] }).replicaRanks(worldSize: worldSize))
        let placed = try ReplicaPlanner(keeping: max(0.002, options.minimumGain / 2))
            .plan(problem, prices: ReplicaPlanner.Prices(arrival: arrivalPrice))
            .placement(
                widths: others.map { widths[$0] },
                current: LayerPlacement(experts: others.map { current.experts[$0] }))
        for (index, expert) in others.enumerated() { experts[expert] = placed.experts[index] }
        return LayerPlacement(experts: experts)
    }

    /// Every expert whole on every rank, faster ranks with more rows, which no load can make uneven; nil when memory does
    /// not allow that.
    private func replicated(current: LayerPlacement, slots: [Int]) throws(PlacementError) -> LayerPlacement? {
        guard worldSize > 1, slots.allSatisfy({ $0 >= widths.count }), worldSize * widths.count <= mostRanks else {
            return nil
        }
        let speeds = (0..<worldSize).map { 1 / slowness($0) }
        let total = speeds.reduce(0, +)
        let plan = ReplicaPlan(
            ranks: widths.map { _ in Array(0..<worldSize) }, fractions: widths.map { _ in speeds.map { $0 / total } })
        return try plan.placement(widths: widths, current: current)
    }

    /// The expert over all ranks, faster ranks with more neurons; as it is, when it is so already and other cuts would take
    /// little off its slowest shard.
    private func spread(_ expert: Int, current: ExpertPlacement) throws(PlacementError) -> ExpertPlacement? {
        guard widths[expert] >= worldSize else { return nil }
        let mesh = try DeviceMesh(dataParallel: 1, tensorParallel: worldSize, ranks: Array(0..<worldSize))
        let spread = try ExpertPlacement(width: widths[expert], mesh: mesh, cuts: cuts(width: widths[expert]))
        let isSpread = current.mesh.dataParallel == 1 && current.mesh.tensorParallel == worldSize
        let isGoodEnough = rowSeconds(spread) >= rowSeconds(current) * (1 - options.minimumGain)
        return isSpread && isGoodEnough ? current : spread
    }

    /// Seconds of the slowest shard on a row.
    private func rowSeconds(_ placement: ExpertPlacement) -> Double {
        let mesh = placement.mesh
        return (0..<mesh.tensorParallel).map { shard in
            costs.secondsPerRow(
                neurons: placement.neurons(ofShard: shard).count, rank: mesh.rank(replica: 0, shard: shard))
        }.max() ?? 0
    }

    /// Cuts with which all ranks take as long for a row, as far as each has a neuron; nil: even ones.
    private func cuts(width: Int) -> [Int]? {
        guard Set(costs.slowness).count > 1 else { return nil }
        let speeds = costs.slowness.map { 1 / $0 }
        let row = costs.rowSeconds
        let seconds =
            (costs.neuronSeconds * Double(width) + row * Double(worldSize)) / speeds.reduce(0, +)
        // What the row itself leaves of the time; one neuron for each rank, the others by that.
        let parts = speeds.map { max(0, seconds * $0 - row) }
        let total = parts.reduce(0, +)
        guard total > 0, total.isFinite else { return nil }
        var cuts = [0]
        var sum = 0.0
        for (rank, part) in parts.enumerated() {
            sum += part
            cuts.append(rank + 1 + Int((Double(width - worldSize) * sum / total).rounded()))
        }
        return cuts
    }
}
