/// What backward multiplies the losses of a layer's router with, as `Router.Statistics` sums them up over tokens and sequences.
public struct RouterLossScales: Sendable, Equatable {
    /// Of the sum over tokens of the squared log-sum-exp: coefficient / tokens of all ranks.
    public var zLoss: Float
    /// Of the sum over sequences of the balance losses: coefficient / sequences of all ranks.
    public var sequenceLoss: Float

    public init(zLoss: Float = 0, sequenceLoss: Float = 0) {
        (self.zLoss, self.sequenceLoss) = (zLoss, sequenceLoss)
    }
}
