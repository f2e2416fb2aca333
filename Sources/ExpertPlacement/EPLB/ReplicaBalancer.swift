/// DeepSeek's Expert Parallelism Load Balancer (github.com/deepseek-ai/EPLB): which expert each slot holds, for one
/// layer.
///
/// Its arithmetic is repeated in single precision and in the same order, so that the result is equal to that of the
/// published Python down to ties, with two provisos: equal loads are taken in the order of their indices (PyTorch's
/// sort does so where it is stable), and the loads of a group add up below 2^24 rows, so that their sum is exact in
/// any order.
public struct ReplicaBalancer: Hashable, Sendable {
    /// What the balancer decides for a layer.
    public struct Decision: Hashable, Sendable {
        /// Expert of each slot, `replicas` entries, rank by rank. A rank may hold one expert twice.
        public let experts: [Int]
        /// Which of its expert's replicas each slot is, from 0.
        public let replicaIndices: [Int]
        /// Replicas of each expert.
        public let counts: [Int]
    }

    /// Slots of all ranks together.
    public let replicas: Int
    /// Groups of neighbouring experts that the router limits a token to.
    public let groups: Int
    public let nodes: Int
    public let ranks: Int

    /// Groups stay on one node each (hierarchical) when the nodes divide the groups; otherwise nodes play no part
    /// (global).
    public var isHierarchical: Bool { groups % nodes == 0 }

    /// - Throws: `PlacementError.unsuitableAllocator` when a count does not divide what it must, `tooManyRanks` when there are too many slots.
    public init(replicas: Int, groups: Int = 1, nodes: Int = 1, ranks: Int) throws(PlacementError) {
        guard groups > 0, nodes > 0, ranks > 0 else {
            throw .unsuitableAllocator("eplb needs a group, a node and a rank at least")
        }
        guard replicas > 0, replicas % ranks == 0 else {
            throw .unsuitableAllocator(
                "eplb gives every rank as many replicas: \(ranks) ranks must divide \(replicas) slots")
        }
        guard replicas <= PlacementPlan.rankLimit else {
            throw .tooManyRanks("\(replicas) slots are over the limit of \(PlacementPlan.rankLimit) of one plan")
        }
        guard groups % nodes != 0 || ranks % nodes == 0 else {
            throw .unsuitableAllocator(
                "eplb needs as many ranks on each node: \(nodes) nodes must divide \(ranks) ranks")
        }
        self.replicas = replicas
        self.groups = groups
        self.nodes = nodes
        self.ranks = ranks
    }

    /// - Parameter loads: rows of each expert.
    /// - Throws: `PlacementError.unsuitableAllocator` when the experts do not fit the slots or the groups.
    public func balance(_ loads: [Double]) throws(PlacementError) -> Decision {
        let groups = isHierarchical ? groups : 1
        let nodes = isHierarchical ? nodes : 1
        let count = loads.count
        guard count > 0, count <= replicas else {
            throw .unsuitableAllocator("\(count) experts do not fit \(replicas) slots")
        }
        guard count % groups == 0 else {
            throw .unsuitableAllocator("eplb needs groups of one size: \(groups) groups must divide \(count) experts")
        }
        guard loads.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            throw .unsuitableAllocator("loads must be finite and not negative")
        }
        let weights = loads.map { Float($0) }
        let groupSize = count / groups
        let sums = (0..<groups).map { group in
            weights[group * groupSize..<(group + 1) * groupSize].reduce(0, +)
        }
        // Groups to nodes, then replicas within each node, then slots to its ranks.
        let packing = BalancedPacking(sums, packs: nodes)
        var order = [Int](repeating: 0, count: count)
        for group in 0..<groups {
            let place = (packing.packs[group] * (groups / nodes) + packing.positions[group]) * groupSize
            for member in 0..<groupSize { order[place + member] = group * groupSize + member }
        }
        var experts = [Int]()
        var replicaIndices = [Int]()
        var counts = [Int](repeating: 0, count: count)
        for node in 0..<nodes {
            let members = order[node * (count / nodes)..<(node + 1) * (count / nodes)]
            let replication = Replication(members.map { weights[$0] }, replicas: replicas / nodes)
            let pieces = replication.experts.map {
                weights[members[members.startIndex + $0]] / Float(replication.counts[$0])
            }
            let packing = BalancedPacking(pieces, packs: ranks / nodes)
            let size = replicas / ranks
            var slots = [Int](repeating: 0, count: pieces.count)
            for piece in pieces.indices { slots[packing.packs[piece] * size + packing.positions[piece]] = piece }
            for piece in slots {
                experts.append(members[members.startIndex + replication.experts[piece]])
                replicaIndices.append(replication.indices[piece])
            }
            for (member, count) in zip(members, replication.counts) { counts[member] = count }
        }
        return Decision(experts: experts, replicaIndices: replicaIndices, counts: counts)
    }
}
