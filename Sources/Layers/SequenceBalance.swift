import Tensors

/// The balance loss by sequence of DeepSeek-V3 (arXiv:2412.19437, equations 17 to 20), of a layer: Σ_e f_e · P_e, where f_e is E/(K·L)
/// times the tokens of the sequence that chose expert e, and P_e the mean of its probability. Even routing gives 1.
///
/// Choices are the router's, with its biases and groups; f has no gradient. A sequence may be on several ranks: f is of all its tokens, and
/// each rank has the part of P, and of the loss, that comes from its own.
struct SequenceBalance {
    /// f of each sequence, S·E entries.
    let fractions: [Double]
    /// L
    let length: Int
    /// Index of the first own token among those of the sequences.
    private let firstToken: Int

    /// Collective in the group.
    /// - Parameters:
    ///   - routing: of the own tokens.
    ///   - tokens: of all sequences.
    ///   - group: the ranks that have them; nil: this one has all.
    init(
        _ routing: Routing, tokens: Int, sequenceLength: Int, policy: RoutingPolicy, group: (any SequenceGroup)?
    ) throws {
        let experts = routing.expertCount
        length = max(1, sequenceLength)
        firstToken = group?.ownTokens(of: tokens).lowerBound ?? 0
        var loads = [Double](repeating: 0, count: tokens / length * experts)
        for (token, expert) in zip(routing.tokens, routing.experts) {
            loads[(firstToken + Int(token)) / length * experts + Int(expert)] += 1
        }
        try group?.sum(&loads)
        let share = Double(experts) / Double(policy.expertsPerToken * length)
        fractions = loads.map { $0 * share }
    }

    /// The sequence of an own token.
    func sequence(ofToken token: Int) -> Int { (firstToken + token) / length }

    /// The own tokens of a sequence, of `count` in all.
    func tokens(ofSequence sequence: Int, count: Int) -> Range<Int> {
        let first = sequence * length - firstToken
        return (first..<first + length).clamped(to: 0..<count)
    }
}

extension Router {
    /// The own tokens' part of the sum of the sequences' losses.
    func sequenceLossSum(_ scores: Tensor, _ balance: SequenceBalance) -> Double {
        var sum = 0.0
        for sequence in 0..<balance.fractions.count / expertCount {
            let own = balance.tokens(ofSequence: sequence, count: scores.rows)
            if own.isEmpty { continue }
            let sums = probabilitySums(scores.rows(own))
            for expert in 0..<expertCount {
                sum += balance.fractions[sequence * expertCount + expert] * sums[expert] / Double(balance.length)
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
