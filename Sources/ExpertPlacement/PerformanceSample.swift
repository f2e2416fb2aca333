/// What one rank measured over some training steps.
public struct PerformanceSample: Hashable, Sendable, Codable {
    /// The steps it covers: `firstStep`, and `stepCount` of them.
    public var firstStep: Int
    public var stepCount: Int
    /// Revision of the plan these steps ran under; `switchingRevision`: before them, layers switched to another one.
    public var planRevision: Int
    /// Wall-clock seconds of the steps, and by phase (attention, router, dispatch, experts, combine, gradients, optimizer).
    public var stepSeconds: Double
    public var phaseSeconds: [String: Double]
    /// Bytes this rank sent to other ranks.
    public var bytesSent: Int
    /// Tokens of this rank's blocks of the batches.
    public var tokens: Int
    /// Resident memory at the end of the last step.
    public var residentBytes: Int
    /// Rows for each expert, [layer][expert], summed over all ranks and the steps; each (token, expert) pair counts once,
    /// before dispatch. A step that was skipped counts with the mean of the others; nil when all were. Sent by rank 0 only.
    public var expertLoads: [[Int]]?
    /// Pairs that found no place at their expert, by layer, counted like `expertLoads`, which are without them; nil: experts
    /// take all that come. Sent with `expertLoads` only.
    public var droppedTokens: [Int]?
    /// Mean cross-entropy of the last step over all ranks. Sent by rank 0 only.
    public var loss: Double?
    /// Rows that this rank computed with all its experts of all layers, each shard's rows by themselves; nil: not counted.
    public var expertRows: Int?
    /// Each of these rows times the neurons of the shard that computed it, added up; nil: not counted.
    public var expertWork: Int?

    public init(
        firstStep: Int, stepCount: Int, planRevision: Int, stepSeconds: Double, phaseSeconds: [String: Double],
        bytesSent: Int, tokens: Int, residentBytes: Int, expertLoads: [[Int]]? = nil, droppedTokens: [Int]? = nil,
        loss: Double? = nil, expertRows: Int? = nil, expertWork: Int? = nil
    ) {
        self.firstStep = firstStep
        self.stepCount = stepCount
        self.planRevision = planRevision
        self.stepSeconds = stepSeconds
        self.phaseSeconds = phaseSeconds
        self.bytesSent = bytesSent
        self.tokens = tokens
        self.residentBytes = residentBytes
        self.expertLoads = expertLoads
        self.droppedTokens = droppedTokens
        self.loss = loss
        self.expertRows = expertRows
        self.expertWork = expertWork
    }

    /// Of samples of steps before which layers switched to another plan, the first after the last switch among them: it
    /// touches fresh memory, so its seconds say nothing of any plan.
    public static let switchingRevision = 0

    /// Keys of `phaseSeconds`.
    public static let expertsPhase = "experts"
    public static let dispatchPhase = "dispatch"
    public static let combinePhase = "combine"
    /// All that moe-worker tells of.
    public static let phases: Set = [
        "attention", "router", dispatchPhase, expertsPhase, combinePhase, "gradients", "optimizer",
    ]

    private enum CodingKeys: String, CodingKey {
        case firstStep = "first_step"
        case stepCount = "step_count"
        case planRevision = "plan_revision"
        case stepSeconds = "step_seconds"
        case phaseSeconds = "phase_seconds"
        case bytesSent = "bytes_sent"
        case tokens
        case residentBytes = "resident_bytes"
        case expertLoads = "expert_loads"
        case droppedTokens = "dropped_tokens"
        case loss
        case expertRows = "expert_rows"
        case expertWork = "expert_work"
    }
}
