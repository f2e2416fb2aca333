import ExpertPlacement

/// What one rank measured. Applied at most once by (run, incarnation, rank, sequence), so it may be sent again until it is
/// acknowledged.
public struct Report: ControlRequest {
    public static let type = "report"
    public typealias Reply = Acknowledged

    public var run: String
    public var incarnation: Int
    public var rank: Int
    /// Counts up from 1 within (incarnation, rank). Gaps are allowed: a worker may drop reports.
    public var sequence: Int
    public var sample: PerformanceSample

    /// A loss that is not finite has no form in JSON and is left out.
    public init(run: String, incarnation: Int, rank: Int, sequence: Int, sample: PerformanceSample) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
        self.sequence = sequence
        self.sample = sample
        if sample.loss?.isFinite == false { self.sample.loss = nil }
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.integer(rank, "rank", in: 0...limits.worldSize - 1)
        try check.integer(sequence, "sequence", in: 1...limits.integer)
        try check.count(sample.firstStep, "sample.first_step")
        try check.count(sample.stepCount, "sample.step_count")
        try check.count(sample.planRevision, "sample.plan_revision")
        try check.seconds(sample.stepSeconds, "sample.step_seconds")
        try check.integer(sample.phaseSeconds.count, "the number of phases", in: 0...limits.phases)
        for (phase, seconds) in sample.phaseSeconds {
            try check.text(phase, "a phase", bytes: limits.identifierBytes)
            try check.seconds(seconds, "sample.phase_seconds.\(phase)")
        }
        try check.count(sample.bytesSent, "sample.bytes_sent")
        try check.count(sample.tokens, "sample.tokens")
        try check.count(sample.residentBytes, "sample.resident_bytes")
        if let loads = sample.expertLoads { try check.loads(loads) }
        if let rows = sample.expertRows { try check.count(rows, "sample.expert_rows") }
        if let work = sample.expertWork { try check.count(work, "sample.expert_work") }
        if let loss = sample.loss, !loss.isFinite { throw ControlError(.badRequest, "sample.loss is not finite") }
    }
}

/// The request's effect is durable.
public struct Acknowledged: ControlMessage {
    public static let type = "acknowledged"

    /// Of the report; nil for other requests.
    public var sequence: Int?

    public init(sequence: Int? = nil) {
        self.sequence = sequence
    }
}
