/// Asks how long each rank took over the same steps.
public struct ShowTimings: ControlRequest {
    public static let type = "show_timings"
    public typealias Reply = Timings

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// The first of the steps; nil: the newest that all ranks have reported, or as many of them as ever did.
    public var firstStep: Int?

    public init(run: String? = nil, firstStep: Int? = nil) {
        self.run = run
        self.firstStep = firstStep
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let firstStep { try check.count(firstStep, "first_step") }
    }

    private enum CodingKeys: String, CodingKey {
        case run
        case firstStep = "first_step"
    }
}

public struct Timings: ControlMessage {
    public static let type = "timings"

    public var run: String
    public var incarnation: Int
    public var firstStep: Int
    public var stepCount: Int
    public var planRevision: Int
    /// What `RankTimings.seconds` has a place for, by name.
    public var phases: [String]
    /// By rank; those that reported.
    public var ranks: [RankTimings]

    public init(
        run: String, incarnation: Int, firstStep: Int, stepCount: Int, planRevision: Int, phases: [String],
        ranks: [RankTimings]
    ) {
        self.run = run
        self.incarnation = incarnation
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.phases = phases
        self.ranks = ranks
    }

    private enum CodingKeys: String, CodingKey {
        case run, incarnation, phases, ranks
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
    }
}

/// What one rank measured over the steps of `Timings`.
public struct RankTimings: Codable, Hashable, Sendable {
    public var rank: Int
    /// Of a step.
    public var stepSeconds: Double
    /// Of a step, by phase.
    public var seconds: [Double]
    /// In all the steps.
    public var bytesSent: Int
    /// After the last one.
    public var residentBytes: Int
    /// Of all the steps.
    public var tokens: Int
    /// As in `PerformanceSample`, of all the steps.
    public var expertWork: Int?

    public init(
        rank: Int, stepSeconds: Double, seconds: [Double], bytesSent: Int, residentBytes: Int, tokens: Int,
        expertWork: Int? = nil
    ) {
        self.rank = rank
        self.stepSeconds = stepSeconds
        self.seconds = seconds
        self.bytesSent = bytesSent
        self.residentBytes = residentBytes
        self.tokens = tokens
        self.expertWork = expertWork
    }

    private enum CodingKeys: String, CodingKey {
        case rank, seconds, tokens
        case stepSeconds = "step_seconds"
        case bytesSent = "bytes_sent"
        case residentBytes = "resident_bytes"
        case expertWork = "expert_work"
    }
}
