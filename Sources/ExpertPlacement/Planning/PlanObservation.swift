/// What happened when a plan came into force, to be held against its `PlanPrediction`: one interval before, one after.
public struct PlanObservation: Hashable, Sendable, Codable {
    /// Measured seconds of the experts in a step, with dispatch and combine, of the slowest rank.
    public var secondsBefore: Double
    public var secondsAfter: Double
    /// Mean over largest of the seconds that the ranks computed with experts: 1 is perfect.
    public var balanceBefore: Double
    public var balanceAfter: Double

    public init(secondsBefore: Double, secondsAfter: Double, balanceBefore: Double, balanceAfter: Double) {
        self.secondsBefore = secondsBefore
        self.secondsAfter = secondsAfter
        self.balanceBefore = balanceBefore
        self.balanceAfter = balanceAfter
    }

    private enum CodingKeys: String, CodingKey {
        case secondsBefore = "seconds_before"
        case secondsAfter = "seconds_after"
        case balanceBefore = "balance_before"
        case balanceAfter = "balance_after"
    }
}
