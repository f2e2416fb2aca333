import Layers
import MessagePassing
import Mixtral

/// Losses and router statistics of a micro-batch, summed over all ranks.
struct GlobalStatistics {
    /// Mean cross-entropy over the tokens of all ranks.
    let loss: Double
    /// Before its coefficient; by batch or by sequence, as the model's routers have it.
    let auxiliaryLoss: Double
    /// Before its coefficient, the sum over layers of the mean over tokens.
    let zLoss: Double
    /// (token, expert) pairs, [layer][expert].
    let expertLoads: [[Int]]
    /// Those of them that were dropped; empty without a capacity.
    let droppedLoads: [[Int]]

    private let tokens: Int

    /// Adds up over the ranks, in one reduction. Collective.
    /// - Parameters:
    ///   - sequences, sequenceLength: of the micro-batch, over all ranks.
    ///   - routing: the policy of the model's routers.
    init(
        _ local: MixtralLosses, sequences: Int, sequenceLength: Int, routing: RoutingPolicy,
        communicator: any Communicator
    ) throws {
        // Counts are exact in a Double up to 2^53.
        var sums = [local.lossSum, local.zLossSum, local.sequenceLossSum]
        for loads in local.expertLoads { sums += loads.map(Double.init) }
        for probabilities in local.probabilitySums { sums += probabilities }
        for loads in local.droppedLoads { sums += loads.map(Double.init) }
        var span = sums.mutableSpan
        try communicator.allReduce(&span, .sum)

        var next = 3
        /// The next layer's entries.
        func take(_ count: Int) -> ArraySlice<Double> {
            defer { next += count }
            return sums[next..<next + count]
        }
        let tokens = sequences * sequenceLength
        self.tokens = tokens
        loss = sums[0] / Double(tokens)
        zLoss = sums[1] / Double(tokens)
        // Not a number when the loss is not; only read when it is.
        expertLoads = local.expertLoads.map { take($0.count).map { Int($0) } }
        let probabilitySums = local.probabilitySums.map { Array(take($0.count)) }
        droppedLoads =
            local.droppedLoads.contains { !$0.isEmpty } ? local.droppedLoads.map { take($0.count).map { Int($0) } } : []
        auxiliaryLoss =
            routing.balancesSequences
            ? sums[2] / Double(sequences)
            : AuxiliaryLoss.value(counts: expertLoads, probabilitySums: probabilitySums, tokens: tokens)
    }

    /// dL/dp for each token's probability of each expert, E entries, the same for all layers.
    func probabilityGradient(coefficient: Double) -> [Float] {
        AuxiliaryLoss.gradient(counts: expertLoads, tokens: tokens, coefficient: coefficient)
    }
}
