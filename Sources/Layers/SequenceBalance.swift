import Tensors

/// The balance loss by sequence of DeepSeek-V3 (arXiv:2412.19437, equations 17 to 20), of a layer: Σ_e f_e · P_e, where f_e is E/(K·L)
/// times the tokens of the sequence that chose expert e, and P_e the mean of its probability. Even routing gives 1.
///
/// Choices are the router's, with its biases and groups; f has no gradient.
enum SequenceBalance {
    /// f of each sequence, S·E entries.
    static func fractions(_ routing: Routing, sequenceLength: Int, _ policy: RoutingPolicy) -> [Double] {
        let experts = routing.expertCount
        var fractions = [Double](repeating: 0, count: routing.tokenCount / max(1, sequenceLength) * experts)
        let share = Double(experts) / Double(policy.expertsPerToken * max(1, sequenceLength))
        for (token, expert) in zip(routing.tokens, routing.experts) {
            fractions[Int(token) / sequenceLength * experts + Int(expert)] += share
        }
        return fractions
    }
}

extension Router {
    /// The sum of the sequences' losses.
    func sequenceLossSum(_ scores: Tensor, _ routing: Routing, sequenceLength: Int) -> Double {
        let fractions = SequenceBalance.fractions(routing, sequenceLength: sequenceLength, policy)
        var sum = 0.0
        for sequence in 0..<fractions.count / expertCount {
            let means = probabilitySums(scores.rows(sequence * sequenceLength..<(sequence + 1) * sequenceLength))
            for expert in 0..<expertCount {
                sum += fractions[sequence * expertCount + expert] * means[expert] / Double(sequenceLength)
            }
        }
        return sum
    }

    /// Σ p by expert. In fp64, so that sums do not depend on how many tokens a rank has.
    func probabilitySums(_ scores: Tensor) -> [Double] {
        let columns = scores.columns
        var sums = [Double](repeating: 0, count: columns)
        let values = scores.span
        var target = sums.mutableSpan
        for start in stride(from: 0, to: values.count, by: columns) {
            if policy.score == .softmax {
                for column in 0..<columns { target[column] += Double(values[start + column]) }
            } else {
                let sum = Double(Self.sum(values, from: start, count: columns))
                for column in 0..<columns { target[column] += Double(values[start + column]) / sum }
            }
        }
        return sums
    }
}
