/// A question to an allocator without a run: which plan for these loads?
public struct OfflinePlan: Sendable {
    /// Rows of each expert in a step, [layer][expert].
    public var loads: [[Double]]
    public var model: ExpertModel
    public var cluster: Cluster
    /// As in `Allocators.make`.
    public var allocator: String
    public var options = AllocatorOptions()
    /// The plan to start from; nil: none is in force, so moves cost nothing, and the prediction compares with whole experts
    /// placed in turn (`expert-parallel`).
    public var current: PlacementPlan?

    /// Loads that are no integers are taken to this fraction of a row.
    private static let rowParts = 1_000_000
    private static let largestLoad = 1e12

    /// - Parameters:
    ///   - nodes: M; ranks are spread over them in order, as evenly as can be.
    ///   - memoryLimit: bytes a rank may use for experts; nil: not limited.
    ///   - width: F of every expert.
    ///   - hiddenSize: D.
    /// - Throws: `PlacementError.unsuitableAllocator` when a number is out of range.
    public init(
        loads: [[Double]], ranks: Int, nodes: Int = 1, allocator: String = "load-balanced",
        options: AllocatorOptions = AllocatorOptions(), memoryLimit: Int? = nil, width: Int, hiddenSize: Int
    ) throws(PlacementError) {
        guard (1...PlacementPlan.worldSizeLimit).contains(ranks), (1...ranks).contains(nodes) else {
            throw .unsuitableAllocator(
                "\(ranks) ranks on \(nodes) nodes: give 1 to \(PlacementPlan.worldSizeLimit) ranks, and a rank a node at least"
            )
        }
        guard width > 0, hiddenSize > 0 else {
            throw .unsuitableAllocator("width \(width) and hidden size \(hiddenSize) must be 1 at least")
        }
        guard !loads.isEmpty, loads.allSatisfy({ !$0.isEmpty }) else {
            throw .unsuitableAllocator("loads need a layer at least, and each layer an expert")
        }
        for (layer, loads) in loads.enumerated() {
            if let load = loads.first(where: { !($0 >= 0 && $0 <= Self.largestLoad) }) {
                throw .unsuitableAllocator("layer \(layer): load \(load) is not from 0 to \(Self.largestLoad)")
            }
        }
        self.loads = loads
        self.allocator = allocator
        self.options = options
        model = ExpertModel(hiddenSize: hiddenSize, layers: loads.map { $0.map { _ in width } })
        cluster = Cluster(
            nodes: Cluster.nodes(ranks: ranks, nodes: nodes),
            memoryLimits: memoryLimit.map { [Int](repeating: $0, count: ranks) })
    }

    /// The plan and what it is expected to bring. When the allocator would change nothing, that is the plan to start from.
    /// - Throws: `PlacementError` when the model is too large to plan for, the policy cannot place it, or its plan does not
    ///   fit the ranks' memory.
    public func propose() throws(PlacementError) -> PlanProposal {
        try model.checkSize()
        var options = options
        let isMeasuring = allocator.hasPrefix("load-balanced")
        if current == nil, isMeasuring, options.values["life"] == nil { options.values["life"] = "1e9" }
        var allocator = try Allocators.make(named: allocator, options: options)
        let base = if let current { current } else { try start() }
        try base.validate(for: model, worldSize: cluster.worldSize)
        allocator.collectPerformance(sample(), rank: 0)
        // As in a run, rows need room as well. Rules that look at no loads answer the first time only.
        var plan = try PlanMemory.allocate(
            with: &allocator, current: base, model: model, cluster: cluster, loads: loads, step: 0)
        if plan == nil, current == nil, allocator is StaticAllocator {
            plan = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
        }
        let chosen = plan ?? base
        try PlanMemory.check(chosen, from: current, model: model, cluster: cluster, loads: loads)
        let prediction = try PlanPrediction(
            from: base, to: chosen, loads: loads, costs: CostEstimate().costs(model: model, cluster: cluster),
            model: model)
        return PlanProposal(plan: chosen, prediction: prediction, why: prediction.summary)
    }

    /// Whole experts placed in turn.
    private func start() throws(PlacementError) -> PlacementPlan {
        let rule = StaticAllocator(.expertParallel)
        guard let plan = try rule.allocateExperts(current: nil, model: model, cluster: cluster, step: 0) else {
            throw .unsuitableAllocator("expert-parallel made no plan")
        }
        return plan
    }

    /// The loads as if they had been measured.
    private func sample() -> PerformanceSample {
        let isWhole = loads.allSatisfy { $0.allSatisfy { $0 == $0.rounded() } }
        let parts = isWhole ? 1 : Self.rowParts
        return PerformanceSample(
            firstStep: 1, stepCount: parts, planRevision: 0, stepSeconds: 0, phaseSeconds: [:], bytesSent: 0,
            tokens: 0, residentBytes: 0,
            expertLoads: loads.map { $0.map { Int(($0 * Double(parts)).rounded()) } })
    }
}
