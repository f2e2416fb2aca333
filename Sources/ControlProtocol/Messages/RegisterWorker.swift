/// A rank says where it runs. Needed before its reports; may be repeated.
public struct RegisterWorker: ControlRequest {
    public static let type = "register_worker"
    public typealias Reply = WorkerRegistered

    public var run: String
    public var incarnation: Int
    public var rank: Int
    public var host: String
    public var processID: Int

    public init(run: String, incarnation: Int, rank: Int, host: String, processID: Int) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
        self.host = host
        self.processID = processID
    }

    private enum CodingKeys: String, CodingKey {
        case run, incarnation, rank, host
        case processID = "process_id"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.integer(rank, "rank", in: 0...limits.worldSize - 1)
        try check.text(host, "host", bytes: limits.hostNameBytes)
        try check.count(processID, "process_id")
    }
}

public struct WorkerRegistered: ControlMessage {
    public static let type = "worker_registered"

    public var run: String
    public var incarnation: Int
    public var rank: Int

    public init(run: String, incarnation: Int, rank: Int) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
    }
}
