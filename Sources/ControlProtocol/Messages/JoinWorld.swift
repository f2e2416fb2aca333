/// A rank that no launcher started is there, for as long as its connection is, and waits for the others of its world. It asks
/// again over the same connection until the answer names the world.
public struct JoinWorld: ControlRequest {
    public static let type = "join_world"
    public typealias Reply = WorldJoined

    /// The ranks of one world name the same; nil: they have no name in common.
    public var run: String?
    public var worldSize: Int
    public var rank: Int
    public var host: String
    public var processID: Int

    public init(run: String?, worldSize: Int, rank: Int, host: String, processID: Int) {
        self.run = run
        self.worldSize = worldSize
        self.rank = rank
        self.host = host
        self.processID = processID
    }

    private enum CodingKeys: String, CodingKey {
        case run, rank, host
        case worldSize = "world_size"
        case processID = "process_id"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        try check.integer(worldSize, "world_size", in: 1...limits.worldSize)
        try check.integer(rank, "rank", in: 0...worldSize - 1)
        try check.text(host, "host", bytes: limits.hostNameBytes)
        try check.count(processID, "process_id")
    }
}

public struct WorldJoined: ControlMessage {
    public static let type = "world_joined"

    /// Rank 0 gets it when all ranks wait at once, the others when rank 0 has opened the world; nil: ask again.
    public var world: String?
    /// Where rank 0 listens; nil for rank 0 itself.
    public var address: String?
    /// The lowest ranks that do not wait, and how many there are.
    public var missing: [Int]
    public var missingCount: Int

    public init(world: String? = nil, address: String? = nil, missing: [Int] = [], missingCount: Int = 0) {
        self.world = world
        self.address = address
        self.missing = missing
        self.missingCount = missingCount
    }

    private enum CodingKeys: String, CodingKey {
        case world, address, missing
        case missingCount = "missing_count"
    }
}
