/// A line of the metrics file: what one training step did. Global over all ranks, but for `phaseSeconds`, `bytesSent` and
/// `residentBytes`, which are rank 0's. Numbers that are not finite, as in a skipped step, are written as null.
public struct StepMetrics: Sendable, Equatable {
    /// Steps count from 1 in the file: the state after `step` updates.
    public var step: Int
    /// Mean cross-entropy over all tokens of the global batch, without the auxiliary loss.
    public var loss: Double
    /// The auxiliary loss before its coefficient.
    public var auxiliaryLoss: Double
    /// Global gradient norm before clipping.
    public var gradientNorm: Double
    public var learningRate: Double
    /// Of the whole job.
    public var tokensPerSecond: Double
    /// The slowest rank's.
    public var stepSeconds: Double
    public var planRevision: Int
    /// (token, expert) pairs, [layer][expert].
    public var expertLoad: [[Int]]
    /// Mean cross-entropy over the validation split, on steps that were followed by a validation.
    public var validationLoss: Double?
    /// Seconds of the step by phase.
    public var phaseSeconds: [String: Double]
    /// Bytes sent to other ranks in the step.
    public var bytesSent: Int
    public var residentBytes: Int
    /// Steps skipped so far because a loss or gradient was not finite.
    public var skippedSteps: Int
    /// On steps before which experts moved: the bytes that all ranks sent, rank 0's seconds of it, and those of checksums.
    public var migrationBytes: Int?
    public var migrationSeconds: Double?
    public var verifySeconds: Double?
    /// The z-loss before its coefficient, the sum over layers; 0 when the model has none.
    public var zLoss = 0.0
    /// (token, expert) pairs that found no place at the expert, by layer; empty without a capacity.
    public var droppedTokens = [Int]()
    /// What each rank did for the experts.
    public var ranks = RankMetrics()

    public init(
        step: Int, loss: Double, auxiliaryLoss: Double, gradientNorm: Double, learningRate: Double,
        tokensPerSecond: Double, stepSeconds: Double, planRevision: Int, expertLoad: [[Int]], validationLoss: Double?,
        phaseSeconds: [String: Double], bytesSent: Int, residentBytes: Int, skippedSteps: Int
    ) {
        self.step = step
        self.loss = loss
        self.auxiliaryLoss = auxiliaryLoss
        self.gradientNorm = gradientNorm
        self.learningRate = learningRate
        self.tokensPerSecond = tokensPerSecond
        self.stepSeconds = stepSeconds
        self.planRevision = planRevision
        self.expertLoad = expertLoad
        self.validationLoss = validationLoss
        self.phaseSeconds = phaseSeconds
        self.bytesSent = bytesSent
        self.residentBytes = residentBytes
        self.skippedSteps = skippedSteps
    }
}

extension StepMetrics: Codable {
    private enum CodingKeys: String, CodingKey {
        case step, loss
        case auxiliaryLoss = "aux_loss"
        case zLoss = "z_loss"
        case droppedTokens = "dropped_tokens"
        case gradientNorm = "grad_norm"
        case learningRate = "learning_rate"
        case tokensPerSecond = "tokens_per_second"
        case stepSeconds = "step_seconds"
        case planRevision = "plan_revision"
        case expertLoad = "expert_load"
        case validationLoss = "validation_loss"
        case phaseSeconds = "phase_seconds"
        case bytesSent = "bytes_sent"
        case residentBytes = "resident_bytes"
        case skippedSteps = "skipped_steps"
        case migrationBytes = "migration_bytes"
        case migrationSeconds = "migration_seconds"
        case verifySeconds = "verify_seconds"
        case rankRows = "rank_rows"
        case rankWork = "rank_work"
        case rankExpertSeconds = "rank_expert_seconds"
        case rankProcessorSeconds = "rank_cpu_seconds"
        case rankDenseProcessorSeconds = "rank_dense_cpu_seconds"
        case rankExchangeSeconds = "rank_exchange_seconds"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func number(_ key: CodingKeys) throws -> Double { try values.decode(Double?.self, forKey: key) ?? .nan }
        step = try values.decode(Int.self, forKey: .step)
        loss = try number(.loss)
        auxiliaryLoss = try number(.auxiliaryLoss)
        gradientNorm = try number(.gradientNorm)
        learningRate = try number(.learningRate)
        tokensPerSecond = try number(.tokensPerSecond)
        stepSeconds = try number(.stepSeconds)
        planRevision = try values.decode(Int.self, forKey: .planRevision)
        expertLoad = try values.decode([[Int]].self, forKey: .expertLoad)
        validationLoss = values.contains(.validationLoss) ? try number(.validationLoss) : nil
        phaseSeconds = try values.decode([String: Double].self, forKey: .phaseSeconds)
        bytesSent = try values.decode(Int.self, forKey: .bytesSent)
        residentBytes = try values.decode(Int.self, forKey: .residentBytes)
        skippedSteps = try values.decode(Int.self, forKey: .skippedSteps)
        migrationBytes = try values.decodeIfPresent(Int.self, forKey: .migrationBytes)
        migrationSeconds = try values.decodeIfPresent(Double.self, forKey: .migrationSeconds)
        verifySeconds = try values.decodeIfPresent(Double.self, forKey: .verifySeconds)
        zLoss = values.contains(.zLoss) ? try number(.zLoss) : 0
        droppedTokens = try values.decodeIfPresent([Int].self, forKey: .droppedTokens) ?? []
        ranks.rows = try values.decode([[Int]].self, forKey: .rankRows)
        ranks.work = try values.decode([[Int]].self, forKey: .rankWork)
        ranks.expertSeconds = try values.decode([Double].self, forKey: .rankExpertSeconds)
        ranks.processorSeconds = try values.decode([Double].self, forKey: .rankProcessorSeconds)
        ranks.denseProcessorSeconds = try values.decode([Double].self, forKey: .rankDenseProcessorSeconds)
        ranks.exchangeSeconds = try values.decode([Double].self, forKey: .rankExchangeSeconds)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        /// JSON has no infinities.
        func encode(_ number: Double, _ key: CodingKeys) throws {
            try values.encode(number.isFinite ? number : nil, forKey: key)
        }
        try values.encode(step, forKey: .step)
        try encode(loss, .loss)
        try encode(auxiliaryLoss, .auxiliaryLoss)
        try encode(gradientNorm, .gradientNorm)
        try encode(learningRate, .learningRate)
        try encode(tokensPerSecond, .tokensPerSecond)
        try encode(stepSeconds, .stepSeconds)
        try values.encode(planRevision, forKey: .planRevision)
        try values.encode(expertLoad, forKey: .expertLoad)
        if let validationLoss { try encode(validationLoss, .validationLoss) }
        try values.encode(phaseSeconds, forKey: .phaseSeconds)
        try values.encode(bytesSent, forKey: .bytesSent)
        try values.encode(residentBytes, forKey: .residentBytes)
        try values.encode(skippedSteps, forKey: .skippedSteps)
        try values.encodeIfPresent(migrationBytes, forKey: .migrationBytes)
        try values.encodeIfPresent(migrationSeconds, forKey: .migrationSeconds)
        try values.encodeIfPresent(verifySeconds, forKey: .verifySeconds)
        if zLoss != 0 { try encode(zLoss, .zLoss) }
        if !droppedTokens.isEmpty { try values.encode(droppedTokens, forKey: .droppedTokens) }
        try values.encode(ranks.rows, forKey: .rankRows)
        try values.encode(ranks.work, forKey: .rankWork)
        try values.encode(ranks.expertSeconds, forKey: .rankExpertSeconds)
        try values.encode(ranks.processorSeconds, forKey: .rankProcessorSeconds)
        try values.encode(ranks.denseProcessorSeconds, forKey: .rankDenseProcessorSeconds)
        try values.encode(ranks.exchangeSeconds, forKey: .rankExchangeSeconds)
    }
}
