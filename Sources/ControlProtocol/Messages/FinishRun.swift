/// Rank 0 says how its incarnation ended. May be repeated.
public struct FinishRun: ControlRequest {
    public static let type = "finish_run"
    public typealias Reply = Acknowledged

    public enum Outcome: String, Codable, Sendable, CaseIterable {
        case completed, failed, interrupted
    }

    public var run: String
    public var incarnation: Int
    public var outcome: Outcome
    /// Steps done.
    public var step: Int
    /// Why, unless completed.
    public var reason: String?

    public init(run: String, incarnation: Int, outcome: Outcome, step: Int, reason: String? = nil) {
        self.run = run
        self.incarnation = incarnation
        self.outcome = outcome
        self.step = step
        self.reason = reason
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.count(step, "step")
        if let reason { try check.text(reason, "reason", bytes: limits.reasonBytes, mayBeEmpty: true) }
    }
}
