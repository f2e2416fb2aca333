/// Asks for the intervals of steps that a run's ranks reported on, in the order in which rank 0's reports came.
public typealias ListIntervals = ListPage<Intervals>

public struct Intervals: ControlMessage {
    public static let type = "intervals"

    public var run: String
    /// Ascending by number.
    public var intervals: [Interval]
    /// There are more after these.
    public var truncated: Bool

    public init(run: String, intervals: [Interval], truncated: Bool) {
        self.run = run
        self.intervals = intervals
        self.truncated = truncated
    }
}

/// What the ranks of a run measured over the same steps. It is there with rank 0's report, and fills as the others' come.
public struct Interval: Codable, Hashable, Sendable {
    /// Seconds of a step in a phase, over the ranks that reported.
    public struct Phase: Codable, Hashable, Sendable {
        public var mean: Double
        public var largest: Double

        public init(mean: Double, largest: Double) {
            self.mean = mean
            self.largest = largest
        }
    }

    /// Of rank 0's report among those of the run.
    public var number: Int
    public var incarnation: Int
    public var firstStep: Int
    public var stepCount: Int
    public var planRevision: Int
    /// When rank 0's report came.
    public var receivedAt: Timestamp
    public var loss: Double?
    /// Of a step, on the slowest rank.
    public var stepSeconds: Double
    /// Of all steps, and of the ranks that have reported.
    public var tokens: Int
    /// Of the ranks that have reported. Nil when no time passed.
    public var tokensPerSecond: Double?
    /// By all ranks, in all steps.
    public var bytesSent: Int
    /// Mean over largest of the ranks' seconds in the experts; 1 is even. Nil: no time was spent there.
    public var balance: Double?
    /// Mean over layers of mean over largest load of an expert. Nil: no loads came.
    public var loadBalance: Double?
    /// Of the (token, expert) pairs of all layers, those that found no place at their expert. Nil: experts take all.
    public var droppedShare: Double?
    public var phases: [String: Phase]
    /// How many have reported.
    public var ranks: Int

    public init(
        number: Int, incarnation: Int, firstStep: Int, stepCount: Int, planRevision: Int, receivedAt: Timestamp,
        loss: Double? = nil, stepSeconds: Double, tokens: Int, tokensPerSecond: Double? = nil, bytesSent: Int,
        balance: Double? = nil, loadBalance: Double? = nil, droppedShare: Double? = nil, phases: [String: Phase],
        ranks: Int
    ) {
        self.number = number
        self.incarnation = incarnation
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.receivedAt = receivedAt
        self.loss = loss
        self.stepSeconds = stepSeconds
        self.tokens = tokens
        self.tokensPerSecond = tokensPerSecond
        self.bytesSent = bytesSent
        self.balance = balance
        self.loadBalance = loadBalance
        self.droppedShare = droppedShare
        self.phases = phases
        self.ranks = ranks
    }

    private enum CodingKeys: String, CodingKey {
        case number, incarnation, loss, tokens, balance, phases, ranks
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case receivedAt = "received_at"
        case stepSeconds = "step_seconds"
        case tokensPerSecond = "tokens_per_second"
        case bytesSent = "bytes_sent"
        case loadBalance = "load_balance"
        case droppedShare = "dropped_share"
    }
}
