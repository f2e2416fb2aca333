/// What a forward pass with gradients found, over this rank's tokens.
public struct MixtralLosses: Sendable {
    /// Sum of the tokens' cross-entropies.
    public let lossSum: Double
    /// Tokens that chose each expert, [layer][expert].
    public let expertLoads: [[Int]]
    /// Sum over tokens of each expert's probability, [layer][expert].
    public let probabilitySums: [[Double]]

    public init(lossSum: Double, expertLoads: [[Int]], probabilitySums: [[Double]]) {
        self.lossSum = lossSum
        self.expertLoads = expertLoads
        self.probabilitySums = probabilitySums
    }
}
