/// A run on ranks that nobody has at hand: a policy places experts by the loads of a trace, and the cost model says how long
/// steps and moves take.
///
/// The policy, its planner with hysteresis and memory limits, the migration and its schedule are those of a real run. What
/// is assumed is what the cost model assumes, and that a plan is decided upon by the time the next interval begins.
public struct PlacementSimulation: Sendable {
    public struct Options: Hashable, Sendable {
        /// Steps between two looks at the plan; an interval at least.
        public var planningSteps = 1
        /// What all ranks together may send before one step; nil: about what half a step takes.
        public var migrationBudgetBytes: Int?
        /// First intervals that totals leave out.
        public var warmUpIntervals = 0

        public init(planningSteps: Int = 1, migrationBudgetBytes: Int? = nil, warmUpIntervals: Int = 0) {
            self.planningSteps = planningSteps
            self.migrationBudgetBytes = migrationBudgetBytes
            self.warmUpIntervals = warmUpIntervals
        }
    }

    public let policy: String
    public let model: ExpertModel
    public let cluster: Cluster
    /// What things cost in truth; the planner has to find that out from reports.
    public let costs: CostModel
    /// Of all intervals but those of the warm-up.
    public private(set) var totals = SimulationTotals()
    /// Where experts are.
    public private(set) var plan: PlacementPlan

    private let options: Options
    private var planner: PlacementPlanner
    private let isStatic: Bool
    private var underWay: PlanUnderWay?
    private var revision = 1
    private var intervals = 0
    /// Bytes a second of all ranks in the last move.
    private var measuredRate: Double?

    /// - Parameters:
    ///   - policy: as in `Allocators.make`.
    ///   - given: the allocator that goes by this name; nil: what `Allocators.make` makes.
    /// - Throws: `PlacementError` when the policy is not known, cannot place the model, or its first plan does not fit.
    public init(
        policy: String, allocator given: (any ExpertsAllocator)? = nil, model: ExpertModel, cluster: Cluster,
        costs: CostModel, options: Options = Options()
    ) throws(PlacementError) {
        try model.checkSize()
        try costs.validate(worldSize: cluster.worldSize)
        var allocator: any ExpertsAllocator
        if let given { allocator = given } else { allocator = try Allocators.make(named: policy) }
        guard var first = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0) else {
            throw .unsuitableAllocator("\(policy) makes no first plan")
        }
        try PlanMemory.check(first, model: model, cluster: cluster)
        first.revision = revision
        self.policy = policy
        self.model = model
        self.cluster = cluster
        self.costs = costs
        self.options = options
        plan = first
        isStatic = allocator is StaticAllocator
        planner = PlacementPlanner(
            allocator: allocator, model: model, cluster: cluster, intervalSteps: options.planningSteps)
    }

    /// Goes on by an interval of the trace.
    /// - Throws: `PlacementError` when the interval is of another model, or the policy cannot place it.
    public mutating func advance(_ interval: SimulatedInterval) throws(PlacementError) -> IntervalOutcome {
        guard interval.expertLoads.map(\.count) == model.layers.map(\.count), interval.stepCount > 0 else {
            throw .invalidPlan("the loads from step \(interval.firstStep) on are of another model, or of no step")
        }
        let wasUnderWay = underWay != nil
        let before = plan
        // Steps of each layer before it switched, and where it is then.
        var stepsBefore = [Int](repeating: 0, count: model.layers.count)
        var bytesMoved = 0
        var moveSeconds = 0.0
        for step in 0..<interval.stepCount {
            guard underWay != nil else { break }
            for layer in try advanceMove(bytes: &bytesMoved, seconds: &moveSeconds) { stepsBefore[layer] = step }
        }
        let rows = interval.expertLoads.map { $0.map { Double($0) / Double(interval.stepCount) } }
        var outcome = IntervalOutcome(
            firstStep: interval.firstStep, stepCount: interval.stepCount, planRevision: plan.revision, balance: 0,
            stepSeconds: 0, expertSeconds: 0, bytesMoved: bytesMoved, moveSeconds: moveSeconds, isReplanned: false)
        for layer in model.layers.indices {
            let part = Double(stepsBefore[layer]) / Double(interval.stepCount)
            if part > 0 { add(predict(before.layers[layer], layer, rows[layer]), weight: part, to: &outcome) }
            if part < 1 { add(predict(plan.layers[layer], layer, rows[layer]), weight: 1 - part, to: &outcome) }
        }
        outcome.stepSeconds = outcome.expertSeconds + interval.denseSeconds
        if !isStatic {
            report(interval, rows: rows, stepSeconds: outcome.stepSeconds, isSwitching: wasUnderWay)
            outcome.isReplanned = try propose(step: interval.firstStep + interval.stepCount - 1, outcome.stepSeconds)
        }
        intervals += 1
        if intervals > options.warmUpIntervals { totals.add(outcome) }
        return outcome
    }

    private func predict(_ placement: LayerPlacement, _ layer: Int, _ rows: [Double]) -> LayerPrediction {
        LayerPrediction(
            placement, loads: rows, costs: costs, hiddenSize: model.hiddenSize, worldSize: cluster.worldSize,
            layer: layer)
    }

    private func add(_ prediction: LayerPrediction, weight: Double, to outcome: inout IntervalOutcome) {
        outcome.expertSeconds += weight * prediction.seconds
        outcome.balance += weight * prediction.balance / Double(model.layers.count)
    }

    /// Switches the next layers of the plan under way.
    /// - Returns: these layers.
    private mutating func advanceMove(bytes: inout Int, seconds: inout Double) throws(PlacementError) -> [Int] {
        guard var move = underWay else { return [] }
        let step = try move.advance(costs)
        bytes += step.bytes
        seconds += step.seconds
        var layers = plan.layers
        for layer in step.layers { layers[layer] = move.plan.layers[layer] }
        plan = try PlacementPlan(
            revision: plan.revision, worldSize: plan.worldSize, nodes: plan.nodes, layers: layers)
        underWay = move
        if move.isComplete {
            plan = move.plan
            if move.seconds > 0 { measuredRate = Double(move.bytes) / move.seconds }
            underWay = nil
        }
        return step.layers
    }

    /// Tells the planner what the ranks would report: rank 0 the loads, and all how long their experts took.
    private mutating func report(
        _ interval: SimulatedInterval, rows: [[Double]], stepSeconds: Double, isSwitching: Bool
    ) {
        var work = RankWork(worldSize: cluster.worldSize)
        for (layer, rows) in zip(plan.layers, rows) { work.add(layer, loads: rows) }
        let steps = Double(interval.stepCount)
        for rank in 0..<cluster.worldSize {
            if isSwitching && rank > 0 { break }  // Seconds of steps between which layers switched tell nothing.
            let seconds =
                costs.slowness(of: rank) * (costs.rowSeconds * work.rows[rank] + costs.neuronSeconds * work.work[rank])
                * steps
            planner.record(
                PerformanceSample(
                    firstStep: interval.firstStep, stepCount: interval.stepCount,
                    planRevision: isSwitching ? PerformanceSample.switchingRevision : plan.revision,
                    stepSeconds: stepSeconds * steps, phaseSeconds: [PerformanceSample.expertsPhase: seconds],
                    bytesSent: 0, tokens: 0, residentBytes: 0, expertLoads: rank == 0 ? interval.expertLoads : nil,
                    expertRows: Int(min(work.rows[rank] * steps, 1e18)),
                    expertWork: Int(min(work.work[rank] * steps, 1e18))),
                rank: rank)
        }
    }

    /// Asks the planner, unless a plan is on its way.
    private mutating func propose(step: Int, _ stepSeconds: Double) throws(PlacementError) -> Bool {
        guard underWay == nil, planner.isDue,
            let proposal = try planner.propose(current: plan, settings: PlanningSettings(), step: step)
        else { return false }
        revision += 1
        var next = proposal.plan
        next.revision = revision
        let budget =
            options.migrationBudgetBytes
            ?? MigrationBudget.bytes(
                stepSeconds: stepSeconds, bytesPerSecond: costs.moveBytesPerSecond, worldSize: cluster.worldSize,
                measured: measuredRate)
        underWay = PlanUnderWay(
            next, from: plan, model: model, ownership: cluster.ownership, budgetBytes: budget)
        return true
    }
}
