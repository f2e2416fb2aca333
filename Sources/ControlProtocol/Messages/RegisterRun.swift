import ExpertPlacement

/// Rank 0 starts an incarnation of a run. A name that is known already continues that run: it keeps its active plan unless
/// world size, model, allocator or topology are others than before.
public struct RegisterRun: ControlRequest {
    public static let type = "register_run"
    public typealias Reply = RunRegistered

    public var run: String
    /// Chosen at random for each start: a request that is sent again after a lost connection makes no second incarnation.
    public var registration: String
    /// W.
    public var worldSize: Int
    /// The node of each rank, W entries; ranks with the same number share a node.
    public var nodes: [Int]
    public var model: ExpertModel
    /// Decides on the plan, unless `plan` is there.
    public var allocator: String
    /// A plan that the worker's own allocator made; nil: the coordinator makes one.
    public var plan: PlacementPlan?
    public var host: String
    public var processID: Int
    /// What the run was started with, for people to read.
    public var configuration: [String: String]
    /// Bytes each rank may use for experts, W entries; nil: not limited.
    public var memoryLimits: [Int]?
    /// What messages between the ranks cost, as measured at start; nil: not measured.
    public var exchange: ExchangeCosts?
    /// Where optimizer state is kept; nil: as `OwnershipPolicy.defaultPolicy` says.
    public var ownership: OwnershipPolicy?
    /// Steps that a report covers; nil: not said.
    public var interval: Int?
    /// What the run goes on from; nil: from its beginning. The new incarnation and all further revisions are above its numbers.
    public var checkpoint: ResumedCheckpoint?

    public init(
        run: String, registration: String, worldSize: Int, nodes: [Int], model: ExpertModel, allocator: String,
        plan: PlacementPlan? = nil, host: String, processID: Int, configuration: [String: String] = [:],
        memoryLimits: [Int]? = nil, exchange: ExchangeCosts? = nil, ownership: OwnershipPolicy? = nil,
        interval: Int? = nil, checkpoint: ResumedCheckpoint? = nil
    ) {
        self.run = run
        self.registration = registration
        self.worldSize = worldSize
        self.nodes = nodes
        self.model = model
        self.allocator = allocator
        self.plan = plan
        self.host = host
        self.processID = processID
        self.configuration = configuration
        self.memoryLimits = memoryLimits
        self.exchange = exchange
        self.ownership = ownership
        self.interval = interval
        self.checkpoint = checkpoint
    }

    private enum CodingKeys: String, CodingKey {
        case run, registration, nodes, model, allocator, plan, host, configuration, exchange, ownership, interval
        case checkpoint
        case memoryLimits = "memory_limits"
        case worldSize = "world_size"
        case processID = "process_id"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.text(registration, "registration", bytes: limits.identifierBytes)
        try check.integer(worldSize, "world_size", in: 1...limits.worldSize)
        guard nodes.count == worldSize else {
            throw ControlError(.badRequest, "nodes has \(nodes.count) entries, but world_size is \(worldSize)")
        }
        for node in nodes { try check.integer(node, "a node", in: 0...worldSize - 1) }
        try check.model(model)
        try check.text(allocator, "allocator", bytes: limits.allocatorNameBytes)
        if let plan { try check.plan(plan) }
        try check.text(host, "host", bytes: limits.hostNameBytes)
        try check.count(processID, "process_id")
        try check.integer(
            configuration.count, "the number of configuration entries", in: 0...limits.configurationEntries)
        for (key, value) in configuration {
            try check.text(key, "a configuration key", bytes: limits.identifierBytes)
            try check.text(
                value, "configuration.\(key)", bytes: limits.configurationValueBytes, mayBeEmpty: true)
        }
        try validatePlanning(check)
    }

    private func validatePlanning(_ check: Validation) throws(ControlError) {
        if let memoryLimits {
            guard memoryLimits.count == worldSize else {
                throw ControlError(
                    .badRequest, "memory_limits has \(memoryLimits.count) entries, but world_size is \(worldSize)")
            }
            for limit in memoryLimits { try check.count(limit, "a memory limit") }
        }
        if let exchange {
            guard exchange.isSensible else {
                throw ControlError(
                    .badRequest,
                    "exchange is \(exchange.latencySeconds) s and \(exchange.bytesPerSecond) bytes/s, but must be from "
                        + "\(ExchangeCosts.latencies.lowerBound) to \(ExchangeCosts.latencies.upperBound) s and from "
                        + "\(ExchangeCosts.bandwidths.lowerBound) to \(ExchangeCosts.bandwidths.upperBound) bytes/s")
            }
        }
        if let interval { try check.integer(interval, "interval", in: 1...check.limits.integer) }
        try checkpoint?.validate(check)
    }
}

/// The incarnation has begun, and `plan` is the run's active plan; both are durable.
public struct RunRegistered: ControlMessage {
    public static let type = "run_registered"

    public var run: String
    /// Counts up from 1. All later messages of this start carry it.
    public var incarnation: Int
    public var plan: PlacementPlan

    public init(run: String, incarnation: Int, plan: PlacementPlan) {
        self.run = run
        self.incarnation = incarnation
        self.plan = plan
    }
}
