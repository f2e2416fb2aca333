/// `eplb`: DeepSeek's policies. Two replicas that it puts on one rank become one with both their tokens.
public struct ReplicaBalancerAllocator: LayerAllocator {
    public struct Options: Hashable, Sendable {
        public static let names = ["slots", "groups"]

        /// Experts a rank holds in a layer; nil: room for every expert twice, as far as memory leaves it, the same on all ranks.
        public var slots: Int?
        /// Groups of experts that stay on a node each, when the nodes divide them.
        public var groups = 1

        public init() {}

        public init(_ options: AllocatorOptions) throws(PlacementError) {
            slots = try options.integer("slots", in: 1...1_000_000)
            groups = try options.integer("groups", in: 1...1_000_000) ?? 1
        }
    }

    public var options: Options

    public init(_ options: Options = Options()) {
        self.options = options
    }

    public func allocateLayer(_ request: LayerRequest) throws(PlacementError) -> LayerPlacement {
        let worldSize = request.cluster.worldSize
        // It fills all slots that it has, whether they are of use or not.
        let most = options.slots ?? SlotBudget.everyExpertTwice(request.loads.count, worldSize: worldSize)
        let slots =
            try SlotBudget.slots(
                layer: request.layer, model: request.model, cluster: request.cluster, fixed: most,
                costs: .nominal(hiddenSize: request.model.hiddenSize)
            ).min() ?? 0
        let balancer = try ReplicaBalancer(
            replicas: slots * worldSize, groups: options.groups, nodes: nodeCount(request.cluster), ranks: worldSize)
        let decision = try balancer.balance(request.loads)
        var ranks = [[Int]](repeating: [], count: request.loads.count)
        var fractions = [[Double]](repeating: [], count: request.loads.count)
        for (slot, expert) in decision.experts.enumerated() {
            let share = 1 / Double(decision.counts[expert])
            if ranks[expert].last == slot / slots {
                fractions[expert][fractions[expert].count - 1] += share
            } else {
                ranks[expert].append(slot / slots)
                fractions[expert].append(share)
            }
        }
        return try ReplicaPlan(ranks: ranks, fractions: fractions)
            .placement(widths: request.widths, current: request.current)
    }

    /// Nodes, when they are of one size and their ranks follow each other; 1 otherwise.
    private func nodeCount(_ cluster: Cluster) -> Int {
        let count = Set(cluster.nodes).count
        guard cluster.worldSize % count == 0 else { return 1 }
        let size = cluster.worldSize / count
        let regular = cluster.nodes.indices.allSatisfy { cluster.nodes[$0] == cluster.nodes[$0 / size * size] }
        return regular ? count : 1
    }
}
