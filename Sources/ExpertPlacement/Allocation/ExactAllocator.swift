/// `exact`: the best replicas there are, for small worlds; the judge of other policies.
public struct ExactAllocator: LayerAllocator {
    public static let optionNames = ["slots", "limit"]

    /// Experts a rank holds in a layer; nil: room for every expert twice, as far as memory leaves it.
    public var slots: Int?
    /// Placements looked at in a layer before the search gives up.
    public var limit: Int
    /// Asked between placements; once it is true the search ends with an error.
    private let isCancelled: @Sendable () -> Bool

    public init(
        slots: Int? = nil, limit: Int = 1_000_000, isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.slots = slots
        self.limit = limit
        self.isCancelled = isCancelled
    }

    public init(
        _ options: AllocatorOptions, isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws(PlacementError) {
        slots = try options.integer("slots", in: 1...1_000_000)
        limit = try options.integer("limit", in: 1...1_000_000_000) ?? 1_000_000
        self.isCancelled = isCancelled
    }

    public func allocateLayer(_ request: LayerRequest) throws(PlacementError) -> LayerPlacement {
        let costs = CostModel.nominal(hiddenSize: request.model.hiddenSize)
        let widest = request.widths.max() ?? 1
        let worldSize = request.cluster.worldSize
        let most = slots ?? SlotBudget.everyExpertTwice(request.loads.count, worldSize: worldSize)
        let problem = try ReplicaProblem(
            loads: zip(request.loads, request.widths).map { $0 * Double($1) / Double(max(1, widest)) },
            secondsPerRow: [Double](repeating: 1, count: worldSize),
            slots: SlotBudget.slots(
                layer: request.layer, model: request.model, cluster: request.cluster, fixed: most, costs: costs))
        guard let plan = ExactReplicaPlanner(limit: limit).plan(problem, isCancelled: isCancelled) else {
            if isCancelled() { throw .unsuitableAllocator("exact was ended in layer \(request.layer)") }
            throw .unsuitableAllocator(
                "exact looked at \(limit) placements of layer \(request.layer) without coming to an end; use "
                    + "load-balanced, or raise the option limit (at most \(ExactReplicaPlanner.rankLimit) ranks)")
        }
        return try plan.placement(widths: request.widths, current: request.current)
    }
}
