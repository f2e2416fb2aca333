import Layers

/// A number that each step has: a column of the table of metrics, and a curve in TensorBoard.
struct StepQuantity: Sendable {
    let column: String
    let tag: String
    /// Nil where a step has none.
    let value: @Sendable (StepMetrics) -> Double?

    private init(_ column: String, _ tag: String, _ value: @escaping @Sendable (StepMetrics) -> Double?) {
        self.column = column
        self.tag = tag
        self.value = value
    }

    /// In the order of the columns, which never change for a run: tables go on after a resume, on other ranks.
    static let all: [StepQuantity] =
        [
            StepQuantity("loss", "train/loss") { $0.loss },
            StepQuantity("aux_loss", "train/aux_loss") { $0.auxiliaryLoss },
            StepQuantity("z_loss", "train/z_loss") { $0.zLoss },
            StepQuantity("validation_loss", "validation/loss") { $0.validationLoss },
            StepQuantity("grad_norm", "train/grad_norm") { $0.gradientNorm },
            StepQuantity("learning_rate", "train/learning_rate") { $0.learningRate },
            StepQuantity("tokens_per_second", "train/tokens_per_second") { $0.tokensPerSecond },
            StepQuantity("step_seconds", "train/step_seconds") { $0.stepSeconds },
            StepQuantity("skipped_steps", "train/skipped_steps") { Double($0.skippedSteps) },
            StepQuantity("balance", "moe/balance") { $0.rankBalance },
            StepQuantity("load_balance", "moe/load_balance") { $0.loadBalance },
            StepQuantity("dropped_tokens", "moe/dropped_tokens") { Double($0.droppedTokens.reduce(0, +)) },
            StepQuantity("plan_revision", "placement/revision") { Double($0.planRevision) },
            StepQuantity("migration_bytes", "placement/migration_bytes") { $0.migrationBytes.map(Double.init) },
            StepQuantity("migration_seconds", "placement/migration_seconds") { $0.migrationSeconds },
            StepQuantity("verify_seconds", "placement/verify_seconds") { $0.verifySeconds },
            StepQuantity("bytes_sent", "rank_0/bytes_sent") { Double($0.bytesSent) },
            StepQuantity("resident_bytes", "rank_0/resident_bytes") { Double($0.residentBytes) },
        ]
        + Phase.allCases.map { phase in
            StepQuantity("\(phase)_seconds", "phase/\(phase)_seconds") { $0.phaseSeconds[phase.rawValue] }
        }
}

extension StepMetrics {
    /// Mean over largest of the ranks' seconds with experts: 1 when nobody waits.
    var rankBalance: Double? { Self.balance(ranks.expertSeconds) }

    /// Mean over largest of the experts' tokens, by layer; nil for a layer without any.
    var loadBalances: [Double?] { expertLoad.map { Self.balance($0.map(Double.init)) } }

    /// Its mean over the layers.
    var loadBalance: Double? {
        let layers = loadBalances.compactMap { $0 }
        return layers.isEmpty ? nil : layers.reduce(0, +) / Double(layers.count)
    }

    private static func balance(_ values: [Double]) -> Double? {
        guard let largest = values.max(), largest > 0 else { return nil }
        return values.reduce(0, +) / Double(values.count) / largest
    }
}
