/// What was measured over some steps.
public struct TraceInterval: Hashable, Sendable, Codable {
    /// The start of the run that the steps belong to.
    public var incarnation: Int
    public var firstStep: Int
    public var stepCount: Int
    /// Revision of the plan in force; 0: layers switched to another one; nil: not known.
    public var planRevision: Int?
    /// Rows of each expert, [layer][expert], of all ranks over the steps.
    public var expertLoads: [[Int]]
    /// Tokens of all ranks over the steps.
    public var tokens: Int?
    /// Seconds of a step, of the slowest rank.
    public var stepSeconds: Double?
    /// What the ranks measured.
    public var ranks: [RankTiming]?

    /// What one rank measured.
    public struct RankTiming: Hashable, Sendable, Codable {
        public var rank: Int
        /// Seconds of a step, in all and by phase.
        public var stepSeconds: Double
        public var phaseSeconds: [String: Double]
        /// Rows times the neurons that they met, over the steps.
        public var expertWork: Int?

        public init(rank: Int, stepSeconds: Double, phaseSeconds: [String: Double], expertWork: Int? = nil) {
            self.rank = rank
            self.stepSeconds = stepSeconds
            self.phaseSeconds = phaseSeconds
            self.expertWork = expertWork
        }

        private enum CodingKeys: String, CodingKey {
            case rank
            case stepSeconds = "step_seconds"
            case phaseSeconds = "phase_seconds"
            case expertWork = "expert_work"
        }
    }

    public init(
        incarnation: Int = 1, firstStep: Int, stepCount: Int, planRevision: Int? = nil, expertLoads: [[Int]],
        tokens: Int? = nil, stepSeconds: Double? = nil, ranks: [RankTiming]? = nil
    ) {
        self.incarnation = incarnation
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.expertLoads = expertLoads
        self.tokens = tokens
        self.stepSeconds = stepSeconds
        self.ranks = ranks
    }

    private enum CodingKeys: String, CodingKey {
        case incarnation, tokens, ranks
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case expertLoads = "expert_loads"
        case stepSeconds = "step_seconds"
    }
}
