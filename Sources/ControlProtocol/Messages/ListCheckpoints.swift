/// Asks for the checkpoints that a run has said to have written, the last first. Which of them are there, and whole, the file system
/// knows.
public struct ListCheckpoints: ControlRequest {
    public static let type = "list_checkpoints"
    public typealias Reply = RecordedCheckpoints

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// How many at most; nil: as many as the coordinator lists.
    public var limit: Int?

    public init(run: String? = nil, limit: Int? = nil) {
        self.run = run
        self.limit = limit
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let limit { try check.integer(limit, "limit", in: 1...limits.integer) }
    }
}

public struct RecordedCheckpoints: ControlMessage {
    public static let type = "checkpoints"

    public var run: String
    public var checkpoints: [RecordedCheckpoint]
    /// There are more.
    public var truncated: Bool

    public init(run: String, checkpoints: [RecordedCheckpoint], truncated: Bool) {
        self.run = run
        self.checkpoints = checkpoints
        self.truncated = truncated
    }
}

/// A checkpoint as rank 0 told of it.
public struct RecordedCheckpoint: Codable, Hashable, Sendable {
    public var step: Int
    public var incarnation: Int
    public var path: String
    public var bytes: Int
    public var seconds: Double
    public var recordedAt: Timestamp

    public init(step: Int, incarnation: Int, path: String, bytes: Int, seconds: Double, recordedAt: Timestamp) {
        self.step = step
        self.incarnation = incarnation
        self.path = path
        self.bytes = bytes
        self.seconds = seconds
        self.recordedAt = recordedAt
    }

    private enum CodingKeys: String, CodingKey {
        case step, incarnation, path, bytes, seconds
        case recordedAt = "recorded_at"
    }
}
