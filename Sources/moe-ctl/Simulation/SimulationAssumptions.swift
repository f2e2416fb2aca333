import ExpertPlacement

/// What a simulation took for granted of its ranks, so that its numbers can be held against others.
struct SimulationAssumptions: Encodable {
    private let cluster: SimulatedCluster
    private let denseSeconds: Double

    init(_ cluster: SimulatedCluster, denseSeconds: Double) {
        self.cluster = cluster
        self.denseSeconds = denseSeconds
    }

    private enum CodingKeys: String, CodingKey {
        case ownership, exchange, slowness
        case memoryLimit = "memory_limit"
        case operationsPerSecond = "operations_per_second"
        case exchangeBetweenNodes = "exchange_between_nodes"
        case denseSeconds = "dense_seconds"
        case planningSteps = "planning_steps"
        case migrationBudgetBytes = "migration_budget_bytes"
        case warmUpIntervals = "warm_up_intervals"
    }

    func encode(to encoder: any Encoder) throws {
        let (ranks, costs, options) = (cluster.cluster, cluster.costs, cluster.options)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(ranks.ownership, forKey: .ownership)
        // Of the rank that has least.
        try values.encodeIfPresent(ranks.memoryLimits?.min(), forKey: .memoryLimit)
        try values.encode(cluster.operationsPerSecond, forKey: .operationsPerSecond)
        if !costs.slowness.isEmpty { try values.encode(costs.slowness, forKey: .slowness) }
        try values.encodeIfPresent(ranks.exchange, forKey: .exchange)
        try values.encodeIfPresent(ranks.exchangeBetweenNodes, forKey: .exchangeBetweenNodes)
        try values.encode(denseSeconds, forKey: .denseSeconds)
        try values.encode(options.planningSteps, forKey: .planningSteps)
        try values.encodeIfPresent(options.migrationBudgetBytes, forKey: .migrationBudgetBytes)
        try values.encode(options.warmUpIntervals, forKey: .warmUpIntervals)
    }
}
