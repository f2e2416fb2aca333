import ExpertPlacement

/// What a program that places experts is told (`schemas/exec_request.json`).
struct ExecRequest: Hashable, Sendable, Codable {
    static let version = 1

    struct Ranks: Hashable, Sendable, Codable {
        var worldSize: Int
        var nodes: [Int]
        var memoryLimits: [Int]?
        var ownership: OwnershipPolicy
        var exchange: ExchangeCosts?
        var exchangeBetweenNodes: ExchangeCosts?

        private enum CodingKeys: String, CodingKey {
            case nodes, ownership, exchange
            case worldSize = "world_size"
            case memoryLimits = "memory_limits"
            case exchangeBetweenNodes = "exchange_between_nodes"
        }
    }

    var version = Self.version
    /// The last step that was measured.
    var step: Int
    var model: ExpertModel
    var cluster: Ranks
    /// The plan in force.
    var plan: PlacementPlan
    /// Rows a step that each expert is expected to get, [layer][expert]; nil: nothing was measured yet.
    var loads: [[Double]]?
    /// Their standard deviations.
    var deviations: [[Double]]?

    init(step: Int, model: ExpertModel, cluster: Cluster, plan: PlacementPlan, forecast: LoadForecast) {
        self.step = step
        self.model = model
        self.cluster = Ranks(
            worldSize: cluster.worldSize, nodes: cluster.nodes, memoryLimits: cluster.memoryLimits,
            ownership: cluster.ownership, exchange: cluster.exchange,
            exchangeBetweenNodes: cluster.exchangeBetweenNodes)
        self.plan = plan
        if forecast.fits(model) {
            loads = forecast.loads
            deviations = forecast.deviations
        }
    }
}
