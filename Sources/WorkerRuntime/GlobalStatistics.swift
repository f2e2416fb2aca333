import Layers
import MessagePassing
import Mixtral

/// Losses and router statistics of a micro-batch, summed over all ranks.
struct GlobalStatistics {
    /// Mean cross-entropy over the tokens of all ranks.
    let loss: Double
    let auxiliaryLoss: Double
    /// (token, expert) pairs, [layer][expert].
    let expertLoads: [[Int]]

    private let tokens: Int
    private let expertCount: Int

    /// Adds up over the ranks, in one reduction. Collective.
    /// - Parameter tokens: of the micro-batch, over all ranks.
    init(_ local: MixtralLosses, tokens: Int, communicator: any Communicator) throws {
        // Counts are exact in a Double up to 2^53.
        var sums = [local.lossSum]
        for loads in local.expertLoads { sums += loads.map(Double.init) }
        for probabilities in local.probabilitySums { sums += probabilities }
        var span = sums.mutableSpan
        try communicator.allReduce(&span, .sum)

        let expertCount = local.expertLoads.first?.count ?? 0
        let layers = local.expertLoads.count
        func layer(_ index: Int) -> ArraySlice<Double> {
            sums[1 + index * expertCount..<1 + (index + 1) * expertCount]
        }
        self.tokens = tokens
        self.expertCount = expertCount
        loss = sums[0] / Double(tokens)
        // Not a number when the loss is not; only read when it is.
        expertLoads = (0..<layers).map { layer($0).map { Int($0) } }
        auxiliaryLoss = AuxiliaryLoss.value(
            counts: expertLoads, probabilitySums: (layers..<2 * layers).map { Array(layer($0)) }, tokens: tokens)
    }

    /// dL/dp for each token's probability of each expert, E entries, the same for all layers.
    func probabilityGradient(coefficient: Double) -> [Float] {
        AuxiliaryLoss.gradient(counts: expertLoads, tokens: tokens, coefficient: coefficient)
    }
}
