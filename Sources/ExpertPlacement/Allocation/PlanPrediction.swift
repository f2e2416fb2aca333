/// What was predicted of a plan when it was proposed, to be held against what happens.
public struct PlanPrediction: Hashable, Sendable, Codable {
    /// Seconds of the experts in a step, the layers' slowest ranks added up: under the plan in force, and under the
    /// new one.
    public var secondsBefore: Double
    public var secondsAfter: Double
    /// Mean over slowest rank, the mean over layers.
    public var balanceBefore: Double
    public var balanceAfter: Double
    /// Neurons that arrive at ranks: weights for further replicas, and optimizer state for new homes.
    public var replicaNeurons: Int
    public var homeNeurons: Int
    /// Seconds that the moves are expected to take in all.
    public var moveSeconds: Double
    /// Bytes that leave all ranks together for that.
    public var bytes: Int
    /// The error of the forecast before, in total variation; nil before there was one.
    public var forecastError: Double?

    public init(
        secondsBefore: Double = 0, secondsAfter: Double = 0, balanceBefore: Double = 0, balanceAfter: Double = 0,
        replicaNeurons: Int = 0, homeNeurons: Int = 0, moveSeconds: Double = 0, bytes: Int = 0,
        forecastError: Double? = nil
    ) {
        self.secondsBefore = secondsBefore
        self.secondsAfter = secondsAfter
        self.balanceBefore = balanceBefore
        self.balanceAfter = balanceAfter
        self.replicaNeurons = replicaNeurons
        self.homeNeurons = homeNeurons
        self.moveSeconds = moveSeconds
        self.bytes = bytes
        self.forecastError = forecastError
    }

    private enum CodingKeys: String, CodingKey {
        case secondsBefore = "seconds_before"
        case secondsAfter = "seconds_after"
        case balanceBefore = "balance_before"
        case balanceAfter = "balance_after"
        case replicaNeurons = "replica_neurons"
        case homeNeurons = "home_neurons"
        case moveSeconds = "move_seconds"
        case bytes
        case forecastError = "forecast_error"
    }
}
