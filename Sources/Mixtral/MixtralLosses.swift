/// What a forward pass with gradients found, over this rank's tokens.
public struct MixtralLosses: Sendable {
    /// Sum of the tokens' cross-entropies.
    public let lossSum: Double
    /// Tokens that chose each expert, [layer][expert], before any are dropped.
    public let expertLoads: [[Int]]
    /// Sum over tokens of each expert's probability, [layer][expert].
    public let probabilitySums: [[Double]]
    /// Those of the tokens that found no place at the expert, [layer][expert]; without a capacity a layer has none.
    public let droppedLoads: [[Int]]
    /// Sums over layers of those of `Router.Statistics`.
    public let zLossSum: Double
    public let sequenceLossSum: Double

    public init(
        lossSum: Double, expertLoads: [[Int]], probabilitySums: [[Double]], droppedLoads: [[Int]] = [],
        zLossSum: Double = 0, sequenceLossSum: Double = 0
    ) {
        self.lossSum = lossSum
        self.expertLoads = expertLoads
        self.probabilitySums = probabilitySums
        self.droppedLoads = droppedLoads
        self.zLossSum = zLossSum
        self.sequenceLossSum = sequenceLossSum
    }
}
