/// When a change is worth its cost: what it saves over the expected life of the plan has to exceed what it costs, by a
/// margin, so that noise in loads and timings moves nothing.
public struct Hysteresis: Hashable, Sendable, Codable {
    /// Steps that a plan is expected to last.
    public var life: Double
    /// What a move has to save over its life, in times its cost.
    public var margin: Double
    /// Least relative gain of predicted time for which a plan is proposed at all.
    public var minimumGain: Double

    public init(life: Double = 100, margin: Double = 2, minimumGain: Double = 0.01) {
        self.life = life
        self.margin = margin
        self.minimumGain = minimumGain
    }

    /// Whether a plan of which this is predicted should be proposed.
    public func allows(_ prediction: PlanPrediction) -> Bool {
        let gain = prediction.secondsBefore - prediction.secondsAfter
        return gain > minimumGain * prediction.secondsBefore && gain * life > margin * prediction.moveSeconds
    }

    private enum CodingKeys: String, CodingKey {
        case life, margin
        case minimumGain = "minimum_gain"
    }
}
