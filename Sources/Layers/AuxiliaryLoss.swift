/// The load-balancing loss of the Switch Transformer (Fedus et al. 2021, arXiv:2101.03961, equations 4 to 6) as Hugging
/// Face's `load_balancing_loss_func` has it: E · Σ_e f_e · P_e, where f_e is the mean number of times that a token chose
/// expert e and P_e the mean probability of e, both over all tokens of all layers together. Even routing gives K.
///
/// f has no gradient.
public enum AuxiliaryLoss {
    /// - Parameters:
    ///   - counts: tokens that chose each expert, [layer][expert], over all ranks.
    ///   - probabilitySums: sum of each expert's probability over tokens, [layer][expert], over all ranks.
    ///   - tokens: T, of all ranks.
    /// - Returns: the loss before its coefficient; 0 without tokens or layers.
    public static func value(counts: [[Int]], probabilitySums: [[Double]], tokens: Int) -> Double {
        precondition(counts.count == probabilitySums.count, "as many layers of counts as of probabilities")
        let choices = sums(counts)
        let total = Double(counts.count * tokens)
        guard total > 0 else { return 0 }
        var loss = 0.0
        for (expert, count) in choices.enumerated() {
            let probability = probabilitySums.reduce(0) { $0 + $1[expert] }
            loss += count / total * (probability / total)
        }
        return Double(choices.count) * loss
    }

    /// dL/dp of each token's probability of each expert, the same for all tokens and layers: coefficient · E · f_e / (L·T).
    /// - Returns: E entries; zeros without tokens.
    public static func gradient(counts: [[Int]], tokens: Int, coefficient: Double) -> [Float] {
        let choices = sums(counts)
        let total = Double(counts.count * tokens)
        guard total > 0 else { return choices.map { _ in 0 } }
        return choices.map { Float(coefficient * Double(choices.count) * ($0 / total) / total) }
    }

    /// Over the layers, by expert.
    private static func sums(_ counts: [[Int]]) -> [Double] {
        guard let first = counts.first else { return [] }
        return first.indices.map { expert in Double(counts.reduce(0) { $0 + $1[expert] }) }
    }
}
