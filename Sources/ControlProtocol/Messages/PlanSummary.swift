import ExpertPlacement

/// A plan as listings show it.
public struct PlanSummary: Codable, Hashable, Sendable {
    public var revision: Int
    public var state: PlanState
    /// The incarnation under which it was made.
    public var incarnation: Int
    public var createdAt: Timestamp
    public var who: String
    public var why: String
    /// Why it was rejected, withdrawn, abandoned or superseded.
    public var reason: String?
    /// The first step with a layer under it.
    public var acceptedStep: Int?
    /// How many of the `layers` with experts have switched.
    public var switchedLayers: Int
    public var layers: Int
    public var activatedAt: Timestamp?
    /// When it was superseded, rejected, abandoned or withdrawn.
    public var endedAt: Timestamp?
    /// What was expected of it; nil for a run's first plans.
    public var prediction: PlanPrediction?
    /// What the switch took: bytes, rank 0's seconds, and seconds of comparing checksums among them.
    public var bytes: Int?
    public var seconds: Double?
    public var verifySeconds: Double?
    /// What it brought.
    public var observation: PlanObservation?

    public init(
        revision: Int, state: PlanState, incarnation: Int, createdAt: Timestamp, who: String, why: String,
        reason: String? = nil, acceptedStep: Int? = nil, switchedLayers: Int, layers: Int,
        activatedAt: Timestamp? = nil, endedAt: Timestamp? = nil, prediction: PlanPrediction? = nil,
        bytes: Int? = nil, seconds: Double? = nil, verifySeconds: Double? = nil, observation: PlanObservation? = nil
    ) {
        self.revision = revision
        self.state = state
        self.incarnation = incarnation
        self.createdAt = createdAt
        self.who = who
        self.why = why
        self.reason = reason
        self.acceptedStep = acceptedStep
        self.switchedLayers = switchedLayers
        self.layers = layers
        self.activatedAt = activatedAt
        self.endedAt = endedAt
        self.prediction = prediction
        self.bytes = bytes
        self.seconds = seconds
        self.verifySeconds = verifySeconds
        self.observation = observation
    }

    private enum CodingKeys: String, CodingKey {
        case revision, state, incarnation, who, why, reason, layers, prediction, bytes, seconds, observation
        case createdAt = "created_at"
        case acceptedStep = "accepted_step"
        case switchedLayers = "switched_layers"
        case activatedAt = "activated_at"
        case endedAt = "ended_at"
        case verifySeconds = "verify_seconds"
    }
}
