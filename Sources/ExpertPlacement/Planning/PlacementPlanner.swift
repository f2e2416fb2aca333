/// Turns samples into proposals: what the coordinator's planning loop and a job without coordinator have in common.
///
/// The allocator decides; the planner says when to ask it, holds what it answers against operators' settings, against what
/// a move costs and against the ranks' memory, predicts what the plan brings, and later tells what it brought. A pure
/// value: the same samples and calls lead to the same proposals.
public struct PlacementPlanner: Sendable {
    public let model: ExpertModel
    public let cluster: Cluster
    /// Steps between two looks at the plan.
    public let intervalSteps: Int

    private var allocator: any ExpertsAllocator
    private var estimate = CostEstimate()
    /// Used for an allocator that makes no forecasts.
    private var ownForecast = LoadForecast()
    private var timings: PlanTimings
    private var stepsReported = 0
    private var stepsSinceLook = 0
    private var lookedEarly = false

    public init(allocator: any ExpertsAllocator, model: ExpertModel, cluster: Cluster, intervalSteps: Int) {
        self.allocator = allocator
        self.model = model
        self.cluster = cluster
        self.intervalSteps = max(1, intervalSteps)
        timings = PlanTimings(intervalSteps: self.intervalSteps, worldSize: cluster.worldSize)
    }

    /// Takes a sample into account.
    public mutating func record(_ sample: PerformanceSample, rank: Int) {
        guard rank >= 0, rank < cluster.worldSize else { return }
        allocator.collectPerformance(sample, rank: rank)
        if allocator.loadForecast == nil { ownForecast.record(sample) }
        estimate.record(sample, rank: rank)
        timings.record(sample, rank: rank)
        if sample.expertLoads != nil {
            stepsReported = stepsReported.saturatingSum(sample.stepCount)
            stepsSinceLook = stepsSinceLook.saturatingSum(sample.stepCount)
        }
    }

    private var forecast: LoadForecast { allocator.loadForecast ?? ownForecast }

    /// Rows a step that each expert is expected to get, [layer][expert]; nil before the first report of loads.
    public var loads: [[Double]]? { forecast.fits(model) ? forecast.loads : nil }

    /// Errors of earlier forecasts of the loads, oldest first: total variation, the mean over layers.
    public var forecastErrors: [Double] { forecast.errors }

    /// What things cost, as far as it is known.
    public var costs: CostModel { estimate.costs(model: model, cluster: cluster) }

    /// Whether it is time to propose: loads of a new interval are there, or the load has jumped. A load that keeps jumping
    /// shortens one interval of two at most. In the first interval every report is a reason to look: the first plan was
    /// made without loads, and they change fastest at the start.
    public var isDue: Bool {
        stepsSinceLook >= intervalSteps || stepsSinceLook > 0 && (isFirstInterval || !lookedEarly && forecast.hasJumped)
    }

    private var isFirstInterval: Bool { stepsReported <= intervalSteps }

    /// Looks at the plan in force.
    /// - Parameter step: the last that the samples are of.
    /// - Returns: a better plan; nil: keep the one in force.
    /// - Throws: `PlacementError` when the policy cannot place the model, or its plan does not fit the ranks' memory.
    public mutating func propose(
        current: PlacementPlan, settings: PlanningSettings, step: Int
    ) throws(PlacementError) -> PlanProposal? {
        lookedEarly = stepsSinceLook < intervalSteps && !isFirstInterval
        stepsSinceLook = 0
        try current.validate(for: model, worldSize: cluster.worldSize)
        if let loads { estimate.settle(current, loads: loads) }
        if settings.frozen { return nil }
        let largestLoads = largestLoads
        let answered = try PlanMemory.allocate(
            with: &allocator, current: current, model: model, cluster: cluster, loads: largestLoads, step: step)
        guard let answer = answered else { return nil }
        try answer.validate(for: model, worldSize: cluster.worldSize)
        let plan = try PlanMemory.reachable(
            keeping(settings.pinned, of: current, in: answer), from: current, model: model, cluster: cluster,
            loads: largestLoads)
        guard plan.layers.map(\.experts) != current.layers.map(\.experts) else { return nil }

        let prediction = assess(plan, current: current)
        // The allocator may be more cautious than the mean.
        let judged = plan == answer ? allocator.prediction ?? prediction : prediction
        // What is left of its answer where settings and memory came between has to pay.
        let mustGo =
            !fits(current) || allocator.brokenLayers.contains { mends($0, by: plan.layers[$0]) }
        if let hysteresis = allocator.hysteresis, !mustGo, !hysteresis.allows(judged) { return nil }
        try check(plan, current: current)
        let cause = forecast.hasJumped ? "the load has jumped: " : ""
        return PlanProposal(plan: plan, prediction: prediction, why: cause + prediction.summary)
    }

    /// Whether a layer that breaks a rule of the allocator does not when it is placed so.
    private func mends(_ layer: Int, by placement: LayerPlacement) -> Bool {
        allocator.brokenLayers.contains(layer) && allocator.keepsRules(placement, cluster: cluster)
    }

    /// `plan` with the pinned experts where they are. A layer that is worse for it than as it is stays altogether, unless it
    /// has to go.
    private func keeping(
        _ pinned: Set<ExpertID>, of current: PlacementPlan, in plan: PlacementPlan
    ) throws(PlacementError) -> PlacementPlan {
        let layers = Set(pinned.map(\.layer)).filter(plan.layers.indices.contains)
        guard !layers.isEmpty else { return plan }
        let costs = costs
        var kept = plan.layers
        for layer in layers {
            var experts = plan.layers[layer].experts
            for expert in experts.indices where pinned.contains(ExpertID(layer: layer, expert: expert)) {
                experts[expert] = current.layers[layer].experts[expert]
            }
            let mixed = LayerPlacement(experts: experts)
            if mends(layer, by: mixed) {
                kept[layer] = mixed
                continue
            }
            let rows = loads?[layer] ?? model.layers[layer].map { _ in 1 }
            let seconds = [mixed, current.layers[layer]].map {
                LayerPrediction(
                    $0, loads: rows, costs: costs, hiddenSize: model.hiddenSize, worldSize: cluster.worldSize,
                    layer: layer
                ).seconds
            }
            kept[layer] = LayerPlacement(
                experts: seconds[0] < seconds[1] ? mixed.experts : current.layers[layer].experts)
        }
        return try PlacementPlan(worldSize: plan.worldSize, nodes: plan.nodes, layers: kept)
    }

    /// What is to be expected of `plan`, from the loads and speeds measured so far; of one that `check` refuses as another
    /// model's, nothing.
    public func assess(_ plan: PlacementPlan, current: PlacementPlan) -> PlanPrediction {
        guard isOfModel(plan), isOfModel(current),
            var prediction = try? PlanPrediction(from: current, to: plan, loads: loads, costs: costs, model: model)
        else { return PlanPrediction() }
        prediction.forecastError = forecast.errors.last
        return prediction
    }

    /// Whether a plan that was proposed earlier, and that no rank has taken yet, should stay on offer: it still saves
    /// something, or replaces what has to go, and what would be proposed now is not better by the least gain that counts. Otherwise
    /// noise would make a new plan of every report.
    /// - Parameter proposal: what would be proposed now; nil: nothing.
    public func keeps(_ pending: PlacementPlan, over proposal: PlanProposal?, current: PlacementPlan) -> Bool {
        guard let hysteresis = allocator.hysteresis, (try? check(pending, current: current)) != nil else {
            return false
        }
        let expected = assess(pending, current: current)
        let best = proposal?.prediction.secondsAfter ?? expected.secondsBefore
        let mustGo = allocator.brokenLayers.contains { mends($0, by: pending.layers[$0]) }
        return (mustGo || expected.secondsAfter < expected.secondsBefore)
            && expected.secondsAfter * (1 - hysteresis.minimumGain) <= best
    }

    /// - Throws: `PlacementError` when `plan`, an operator's maybe, is not for this model and these ranks, or does not fit
    ///   their memory, on the way there included.
    public func check(_ plan: PlacementPlan, current: PlacementPlan) throws(PlacementError) {
        try plan.validate(for: model, worldSize: cluster.worldSize)
        try PlanMemory.check(plan, from: current, model: model, cluster: cluster, loads: largestLoads)
    }

    /// Loads that memory has to hold: as forecast and a quarter more, since experts' rows scatter around it.
    private var largestLoads: [[Double]]? { loads?.map { $0.map { 1.25 * $0 } } }

    private func isOfModel(_ plan: PlacementPlan) -> Bool {
        (try? plan.validate(for: model, worldSize: cluster.worldSize)) != nil
    }

    /// Whether the ranks have the memory for its experts. Rows come and go, so they are no reason to move at any price.
    private func fits(_ plan: PlacementPlan) -> Bool {
        (try? PlanMemory.check(plan, model: model, cluster: cluster)) != nil
    }

    /// What happened under plans compared with the ones before them: once for each, when all ranks have reported a whole
    /// interval under it, or it has been replaced and all have reported anything.
    public mutating func observations() -> [(revision: Int, observation: PlanObservation)] { timings.observations() }
}
