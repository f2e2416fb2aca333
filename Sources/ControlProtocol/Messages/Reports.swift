import ExpertPlacement

/// Several reports of one rank in one frame, in the order of their sequences. Either all are applied, each at most once, or none
/// is.
public struct Reports: ControlRequest {
    public static let type = "reports"
    public typealias Reply = Acknowledged

    public struct Item: Codable, Hashable, Sendable {
        public var sequence: Int
        public var sample: PerformanceSample

        public init(sequence: Int, sample: PerformanceSample) {
            self.sequence = sequence
            self.sample = sample
        }
    }

    public var run: String
    public var incarnation: Int
    public var rank: Int
    public var reports: [Item]

    /// As `Report.init`.
    public init(run: String, incarnation: Int, rank: Int, reports: [Item]) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
        self.reports = reports.map { Item(sequence: $0.sequence, sample: $0.sample.withFiniteLoss) }
    }

    /// Each as if it had come by itself.
    public var each: [Report] {
        reports.map {
            Report(run: run, incarnation: incarnation, rank: rank, sequence: $0.sequence, sample: $0.sample)
        }
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.reporter(run, incarnation, rank)
        try check.integer(reports.count, "the number of reports", in: 1...limits.reportsPerFrame)
        var last = 0
        for item in reports {
            try check.sequence(item.sequence)
            guard item.sequence > last else {
                throw ControlError(
                    .badRequest, "sequence \(item.sequence) follows \(last); reports stand in their order")
            }
            last = item.sequence
            try check.sample(item.sample)
        }
    }
}
