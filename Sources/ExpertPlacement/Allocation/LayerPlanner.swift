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

    private var widths: [Int] { model.layers[layer] }
    private var worldSize: Int { cluster.worldSize }

    func choose(current: LayerPlacement) throws(PlacementError) -> Choice {
        let before = predict(current)
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
            let after = predict(placement)
            let change = change(from: current, to: placement)
            let moveSeconds = costs.seconds(change, hiddenSize: model.hiddenSize)
            let score = after.seconds * options.life + options.margin * moveSeconds
            guard mustMove || score < bestScore else { return }
            mustMove = false
            bestScore = score
            best = Choice(
                placement: placement, before: before, after: after, change: change, moveSeconds: moveSeconds)
        }
        let sharded = options.shapes == .any ? shardedCounts : [0]
        for count in sharded {
            for (price, spares) in variations {
                do {
                    let placement = try candidate(
                        sharding: count, current: current, slots: slots, price: price, spares: spares)
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

    private func predict(_ placement: LayerPlacement) -> LayerPrediction {
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

    /// Seconds a step that a transfer has to save. Transfers to different ranks go on at the same time, which the
    /// first price assumes and the second does not; at the last only fractions change.
    private var transferPrices: [Double] {
        let widest = widths.max() ?? 0
        let bytes =
            costs.replicaBytes(neurons: widest, hiddenSize: model.hiddenSize)
            + costs.homeBytes(neurons: widest, hiddenSize: model.hiddenSize)
        let seconds = options.margin * Double(bytes) / costs.bytesPerSecond / options.life
        return [seconds / Double(worldSize), seconds, .greatestFiniteMagnitude]
    }

    /// Prices to plan with, and spare replicas at most. Where keeping replicas equal costs time, fewer may be better; as
    /// many as there are ranks, less one, can make any load even.
    private var variations: [(price: Double, spares: Int)] {
        let prices = transferPrices
        let all: [(price: Double, spares: Int)] = prices.map { ($0, .max) }
        let widest = widths.max() ?? 0
        let even = loads.reduce(0, +) / Double(worldSize) * costs.secondsPerRow(neurons: widest, rank: 0)
        let synchronisation = costs.synchronisationSeconds(neurons: widest, hiddenSize: model.hiddenSize)
        guard synchronisation > 0.001 * even else { return all }
        return all + [(prices[0], worldSize - 1), (prices[0], worldSize / 2), (prices[0], worldSize / 4)]
    }

    /// How many of the hottest experts to try spread over all ranks.
    private var shardedCounts: [Int] {
        var counts = [0]
        var next = 1
        while next < widths.count {
            counts.append(next)
            next *= 2
        }
        return counts + [widths.count]
    }

    /// The placement with the `count` hottest experts spread over all ranks and replicas of the others.
    /// - Returns: nil when an expert has too few neurons, or nothing is left to vary.
    private func candidate(
        sharding count: Int, current: LayerPlacement, slots: [Int], price: Double, spares: Int
    ) throws(PlacementError) -> LayerPlacement? {
        let order = widths.indices.sorted { (loads[$0], $1) > (loads[$1], $0) }
        let hot = Set(order.prefix(count))
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
            replicaLimit: spares == .max ? nil : others.count + spares,
            current: LayerPlacement(experts: others.map { current.experts[$0] }).replicaRanks(worldSize: worldSize))
        let placed = try ReplicaPlanner(caution: options.caution).plan(problem, transferPrice: price)
            .placement(
                widths: others.map { widths[$0] },
                current: LayerPlacement(experts: others.map { current.experts[$0] }))
        for (index, expert) in others.enumerated() { experts[expert] = placed.experts[index] }
        return LayerPlacement(experts: experts)
    }

    /// The expert over all ranks, faster ranks with more neurons; as it is, when it is so already.
    private func spread(_ expert: Int, current: ExpertPlacement) throws(PlacementError) -> ExpertPlacement? {
        let width = widths[expert]
        guard width >= worldSize else { return nil }
        if current.mesh.dataParallel == 1, current.mesh.tensorParallel == worldSize { return current }
        let mesh = try DeviceMesh(dataParallel: 1, tensorParallel: worldSize, ranks: Array(0..<worldSize))
        guard Set(costs.slowness).count > 1 else { return try ExpertPlacement(width: width, mesh: mesh) }
        // One neuron for each rank, the others by speed.
        let speeds = costs.slowness.map { 1 / $0 }
        let total = speeds.reduce(0, +)
        var cuts = [0]
        var sum = 0.0
        for (rank, speed) in speeds.enumerated() {
            sum += speed
            cuts.append(rank + 1 + Int((Double(width - worldSize) * sum / total).rounded()))
        }
        return try ExpertPlacement(width: width, mesh: mesh, cuts: cuts)
    }
}
