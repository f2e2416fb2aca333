/// `exact`: the best replicas there are, for small worlds; the judge of other policies.
public struct ExactAllocator: LayerAllocator {
    public static let optionNames = ["slots", "limit"]

    /// Experts a rank holds in a layer; nil: what memory leaves.
    public var slots: Int?
    /// Placements looked at in a layer before the search gives up.
    public var limit: Int

    public init(slots: Int? = nil, limit: Int = 1_000_000) {
        self.slots = slots
        self.limit = limit
    }

    public init(_ options: AllocatorOptions) throws(PlacementError) {
        slots = try options.integer("slots", in: 1...1_000_000)
        limit = try options.integer("limit", in: 1...1_000_000_000) ?? 1_000_000
    }

    public func allocateLayer(_ request: LayerRequest) throws(PlacementError) -> LayerPlacement {
        let costs = CostModel.nominal(hiddenSize: request.model.hiddenSize)
        let widest = request.widths.max() ?? 1
        let problem = try ReplicaProblem(
            loads: zip(request.loads, request.widths).map { $0 * Double($1) / Double(max(1, widest)) },
            secondsPerRow: [Double](repeating: 1, count: request.cluster.worldSize),
            slots: SlotBudget.slots(
                layer: request.layer, model: request.model, cluster: request.cluster, fixed: slots, costs: costs))
        guard let plan = ExactReplicaPlanner(limit: limit).plan(problem) else {
            throw .unsuitableAllocator(
                "exact looked at \(limit) placements of layer \(request.layer) without coming to an end; use "
                    + "load-balanced, or raise the option limit (at most \(ExactReplicaPlanner.rankLimit) ranks)")
        }
        return try plan.placement(widths: request.widths, current: request.current)
    }
}
