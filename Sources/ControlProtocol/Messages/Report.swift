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
        self.sample = sample.withFiniteLoss
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.reporter(run, incarnation, rank)
        try check.sequence(sequence)
        try check.sample(sample)
    }
}

extension PerformanceSample {
    /// Without a loss that is not finite, which has no form in JSON.
    var withFiniteLoss: PerformanceSample {
        guard loss?.isFinite == false else { return self }
        var sample = self
        sample.loss = nil
        return sample
    }
}

extension Validation {
    func reporter(_ run: String, _ incarnation: Int, _ rank: Int) throws(ControlError) {
        try runName(run)
        try count(incarnation, "incarnation")
        try integer(rank, "rank", in: 0...limits.worldSize - 1)
    }

    func sequence(_ sequence: Int) throws(ControlError) {
        try integer(sequence, "sequence", in: 1...limits.integer)
    }

    func sample(_ sample: PerformanceSample) throws(ControlError) {
        try count(sample.firstStep, "sample.first_step")
        try count(sample.stepCount, "sample.step_count")
        try count(sample.planRevision, "sample.plan_revision")
        try seconds(sample.stepSeconds, "sample.step_seconds")
        try integer(sample.phaseSeconds.count, "the number of phases", in: 0...limits.phases)
        for (phase, seconds) in sample.phaseSeconds {
            try text(phase, "a phase", bytes: limits.identifierBytes)
            try self.seconds(seconds, "sample.phase_seconds.\(phase)")
        }
        try count(sample.bytesSent, "sample.bytes_sent")
        try count(sample.tokens, "sample.tokens")
        try count(sample.residentBytes, "sample.resident_bytes")
        if let loads = sample.expertLoads { try self.loads(loads) }
        if let dropped = sample.droppedTokens { try self.dropped(dropped, beside: sample.expertLoads) }
        if let rows = sample.expertRows { try count(rows, "sample.expert_rows") }
        if let work = sample.expertWork { try count(work, "sample.expert_work") }
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
