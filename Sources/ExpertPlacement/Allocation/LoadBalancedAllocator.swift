/// `load-balanced`: chooses replica counts, mesh shapes, ranks and token fractions that minimise the predicted time
/// of the slowest rank, starting from the plan in force so that little moves, and only where the gain over the plan's
/// life exceeds the cost of the move by a margin.
///
/// Layers run one after the other, so the step's time is the sum of their slowest ranks' and each layer is decided
/// alone.
public struct LoadBalancedAllocator: ExpertsAllocator {
    public var options: Options
    public private(set) var forecast: LoadForecast
    /// What things cost, fitted to the reports.
    public private(set) var estimate: CostEstimate
    /// What was predicted of the plan proposed last.
    public private(set) var prediction: PlanPrediction?
    public private(set) var brokenLayers = [Int]()
    /// What shapes of each layer came to.
    private var experience = [ShapeExperience]()

    /// - Parameter costs: what holds until it is measured; nil: guessed from the model.
    public init(_ options: Options = Options(), costs: CostModel? = nil) {
        self.options = options
        estimate = CostEstimate(assumed: costs)
        forecast = LoadForecast(window: options.window, jump: options.jump)
    }

    public var loadForecast: LoadForecast? { forecast }

    public var hysteresis: Hysteresis? {
        Hysteresis(life: options.life, margin: options.margin, minimumGain: options.minimumGain)
    }

    public mutating func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        forecast.record(sample)
        estimate.record(sample, rank: rank)
    }

    public mutating func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        brokenLayers = []
        guard cluster.worldSize > 0 else { throw .unsuitableAllocator("a cluster without ranks can hold no expert") }
        let measured = forecast.fits(model)
        if let current, measured { estimate.settle(current, loads: forecast.loads) }
        let costs = estimate.costs(model: model, cluster: cluster)
        try costs.validate(worldSize: cluster.worldSize)
        guard let current else { return try firstPlan(model: model, cluster: cluster, costs: costs) }
        try current.validate(for: model, worldSize: cluster.worldSize)
        guard measured else { return nil }

        // Where ranks differ, noise in their speeds looks like a gain.
        var options = options
        options.minimumGain += costs.slownessError

        let loads = forecast.loads
        let deviations = forecast.deviations
        let measuredDeviations = forecast.measuredDeviations
        var layers = [LayerPlacement]()
        var sum = PlanPrediction.zero
        var isForced = false
        if experience.count != model.layers.count {
            experience = [ShapeExperience](repeating: ShapeExperience(), count: model.layers.count)
        }
        let slots = try SlotBudget.slots(
            holding: current, model: model, cluster: cluster, fixed: options.slots, costs: costs)
        var planners = [LayerPlanner]()
        for layer in model.layers.indices {
            planners.append(
                try LayerPlanner(
                    layer: layer, model: model, cluster: cluster, costs: costs, options: options, loads: loads[layer],
                    deviations: deviations[layer], measuredDeviations: measuredDeviations[layer],
                    slots: slots[layer]))
        }
        let predictions = zip(planners, current.layers).map { $0.predict($1) }
        if isSettled(planners, current, predictions, minimumGain: options.minimumGain) { return nil }
        for (layer, planner) in planners.enumerated() {
            let choice = try planner.choose(
                current: current.layers[layer], before: predictions[layer], experience: &experience[layer])
            layers.append(choice.placement)
            isForced = isForced || choice.isForced
            if !keepsRules(current.layers[layer], cluster: cluster) { brokenLayers.append(layer) }
            sum.add(choice, layers: model.layers.count)
        }
        let isWorthwhile = sum.secondsBefore - sum.secondsAfter > options.minimumGain * sum.secondsBefore
        guard isWorthwhile || isForced else { return nil }
        sum.forecastError = forecast.errors.last
        prediction = sum
        return try PlacementPlan(worldSize: cluster.worldSize, nodes: cluster.nodes, layers: layers)
    }

    /// Whether it is as the policy was told, by groups and slots; that memory is short is for others to say.
    public func keepsRules(_ placement: LayerPlacement, cluster: Cluster) -> Bool {
        if let slots = options.slots,
            !placement.fits([Int](repeating: slots, count: cluster.worldSize))
        {
            return false
        }
        let groups = try? NodeGroups(
            groups: options.groups, experts: placement.experts.count, nodes: cluster.nodes)
        return groups?.areKept(by: placement) ?? true
    }

    /// Whether searches, which take long for large layers, are not worth the while: what the last ones found, and what has changed
    /// since, promise less than counts.
    private mutating func isSettled(
        _ planners: [LayerPlanner], _ current: PlacementPlan, _ predictions: [LayerPrediction], minimumGain: Double
    ) -> Bool {
        var (seconds, savings) = (0.0, 0.0)
        for (layer, planner) in planners.enumerated() {
            let before = predictions[layer]
            guard planner.isLarge,
                let saved = experience[layer].savings(planner.loads, before: before, bound: planner.leastSeconds)
            else { return false }
            seconds += before.seconds
            savings += saved
        }
        guard savings <= minimumGain * seconds else { return false }
        guard !zip(planners, current.layers).contains(where: { $0.mustGo($1) }) else { return false }
        for layer in experience.indices { experience[layer].look() }
        return true
    }

    /// Expert e whole on rank e mod W, or groups in their order on nodes, as far as memory allows: nothing is known of the
    /// loads yet.
    private func firstPlan(
        model: ExpertModel, cluster: Cluster, costs: CostModel
    ) throws(PlacementError) -> PlacementPlan {
        var layers = [LayerPlacement]()
        for (layer, widths) in model.layers.enumerated() {
            guard widths.allSatisfy({ $0 > 0 }) else {
                throw .unsuitableAllocator("an expert needs a neuron, those of layer \(layer) have \(widths)")
            }
            let slots = try SlotBudget.slots(
                layer: layer, model: model, cluster: cluster, fixed: options.slots, costs: costs)
            let groups = try NodeGroups(groups: options.groups, experts: widths.count, nodes: cluster.nodes)
            let parts =
                groups.map { $0.parts(homes: $0.first) }
                ?? [PlacementPart(experts: Array(widths.indices), ranks: Array(0..<cluster.worldSize))]
            var ranks = [[Int]](repeating: [], count: widths.count)
            for part in parts {
                let problem = try ReplicaProblem(
                    loads: part.experts.map { Double(widths[$0]) },
                    secondsPerRow: [Double](repeating: 1, count: part.ranks.count), slots: part.ranks.map { slots[$0] },
                    replicaLimit: part.experts.count, current: part.experts.indices.map { [$0 % part.ranks.count] })
                // A price no gain can pay: experts move only where they must.
                let plan = ReplicaPlanner().plan(problem, prices: ReplicaPlanner.Prices(transfer: 1e12))
                for (index, expert) in part.experts.enumerated() {
                    ranks[expert] = plan.ranks[index].map { part.ranks[$0] }
                }
            }
            layers.append(
                try ReplicaPlan(ranks: ranks, fractions: ranks.map { _ in [1] }).placement(
                    widths: widths, current: nil))
        }
        return try PlacementPlan(worldSize: cluster.worldSize, nodes: cluster.nodes, layers: layers)
    }
}

extension PlanPrediction {
    static let zero = PlanPrediction()

    mutating func add(_ choice: LayerPlanner.Choice, layers: Int) {
        secondsBefore += choice.before.seconds
        secondsAfter += choice.after.seconds
        balanceBefore += choice.before.balance / Double(layers)
        balanceAfter += choice.after.balance / Double(layers)
        replicaNeurons += choice.change.replicaNeurons.reduce(0, +)
        homeNeurons += choice.change.homeNeurons.reduce(0, +)
        moveSeconds += choice.moveSeconds
    }
}
