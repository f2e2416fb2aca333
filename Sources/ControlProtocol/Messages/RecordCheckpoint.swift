/// Rank 0 says that a checkpoint is on the disk. May be repeated.
public struct RecordCheckpoint: ControlRequest {
    public static let type = "record_checkpoint"
    public typealias Reply = Acknowledged

    public var run: String
    public var incarnation: Int
    /// Steps done. Those of an incarnation ascend.
    public var step: Int
    /// Where it is, as the ranks find it.
    public var path: String
    public var bytes: Int
    /// What writing it took.
    public var seconds: Double

    public init(run: String, incarnation: Int, step: Int, path: String, bytes: Int, seconds: Double) {
        self.run = run
        self.incarnation = incarnation
        self.step = step
        self.path = path
        self.bytes = bytes
        self.seconds = seconds
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.count(step, "step")
        try check.text(path, "path", bytes: limits.pathBytes)
        try check.count(bytes, "bytes")
        try check.seconds(seconds, "seconds")
    }
}
