/// How a router chooses experts and weighs them. The defaults are Mixtral's: softmax over all experts, the K most probable, and
/// their probabilities divided by their sum.
///
/// s are the scores of a token, b the biases of selection, w the weights of its experts.
public struct RoutingPolicy: Sendable, Equatable {
    public enum Score: String, Sendable, CaseIterable {
        /// s = softmax of the logits.
        case softmax
        /// s = 1 / (1 + e^-logit), as DeepSeek-V3 (arXiv:2412.19437).
        case sigmoid
    }

    public enum Selection: Sendable, Equatable {
        /// A token takes the K experts with the largest s + b.
        case tokenChoice
        /// An expert takes the ⌈K·T/E⌉ tokens with the largest s, of those of all ranks (Zhou et al. 2022, arXiv:2202.09368); of s
        /// that are equal to twelve significant bits the first tokens.
        /// Later tokens of a sequence take places from earlier ones: such a model is not causal.
        case expertChoice
    }

    /// Groups of neighbouring experts, of which a token may use some. A group counts as its largest s (DeepSeek-V2, arXiv:2405.04434);
    /// where there are biases, as the sum of its two largest s + b (DeepSeek-V3).
    public struct Groups: Sendable, Equatable {
        public var count: Int
        /// How many groups a token may use.
        public var perToken: Int

        public init(count: Int, perToken: Int) {
            (self.count, self.perToken) = (count, perToken)
        }
    }

    /// K; of expert choice the mean.
    public var expertsPerToken: Int
    public var score = Score.softmax
    public var selection = Selection.tokenChoice
    /// Whether softmax is over the chosen experts alone: the same weights as those of softmax over all, renormalised.
    public var softmaxIsOfSelected = false
    /// Whether a token's weights are divided by their sum.
    public var renormalizes = true
    /// Factor of all weights.
    public var scalingFactor = 1.0
    /// Nil: a token may use any expert.
    public var groups: Groups?
    /// u: what a step adds to b of experts that got fewer tokens than the mean, and takes from those that got more (Wang et al.
    /// 2024, arXiv:2408.15664); nil: there are no biases.
    public var biasUpdateRate: Double?
    /// ε: in training, entries of the router's input are multiplied with random numbers between 1 − ε and 1 + ε (Fedus et al.
    /// 2021, arXiv:2101.03961).
    public var jitter = 0.0
    /// Coefficient of the mean squared log-sum-exp of a layer's logits (Zoph et al. 2022, arXiv:2202.08906).
    public var zLossCoefficient = 0.0
    /// Whether experts are to be balanced in each sequence (DeepSeek-V3) rather than in the batch.
    public var balancesSequences = false

    public init(expertsPerToken: Int = 2) {
        self.expertsPerToken = expertsPerToken
    }
}

extension RoutingPolicy {
    /// Why there is no such router: a field as Hugging Face's configurations and this project's call it.
    public struct Problem: Error, Equatable {
        public let field: String
        /// What it holds, and what it may hold.
        public let found: String
        public let expected: String
    }

    /// The first thing that does not go together; nil when all does.
    public func problem(experts: Int) -> Problem? {
        func check(_ condition: Bool, _ field: String, _ found: String, _ expected: String) -> Problem? {
            condition ? nil : Problem(field: field, found: found, expected: expected)
        }
        return check(
            (1...max(1, experts)).contains(expertsPerToken), "num_experts_per_tok", "\(expertsPerToken)",
            "a whole number from 1 to \(experts)")
            ?? check(
                (1e-6...1e6).contains(scalingFactor), "routed_scaling_factor", "\(scalingFactor)",
                "a number from 1e-06 to 1000000.0")
            ?? check((0...0.99).contains(jitter), "router_jitter_noise", "\(jitter)", "a number from 0.0 to 0.99")
            ?? check(
                (0...1e6).contains(zLossCoefficient), "router_z_loss_coef", "\(zLossCoefficient)",
                "a number from 0.0 to 1000000.0")
            ?? check(
                biasUpdateRate.map { (0...1).contains($0) } ?? true, "router_bias_update_rate",
                "\(biasUpdateRate ?? 0)", "a number from 0.0 to 1.0")
            ?? check(
                !softmaxIsOfSelected || score == .softmax, "router_pre_softmax", "false",
                "true: sigmoid scores do not depend on which experts are selected")
            ?? check(
                !softmaxIsOfSelected || renormalizes, "norm_topk_prob", "false",
                "true, because router_pre_softmax is false: the softmax over the selected experts has the sum 1")
            ?? groups.flatMap { problem(of: $0, experts: experts) } ?? problemOfExpertChoice
    }

    private func problem(of groups: Groups, experts: Int) -> Problem? {
        guard groups.count >= 1, experts % groups.count == 0 else {
            return Problem(
                field: "n_group", found: "\(groups.count)",
                expected: "a divisor of the number of experts, which is \(experts)")
        }
        guard (1...groups.count).contains(groups.perToken),
            groups.perToken * (experts / groups.count) >= expertsPerToken
        else {
            return Problem(
                field: "topk_group", found: "\(groups.perToken)",
                expected: "at most n_group, which is \(groups.count), and so large that the groups of "
                    + "\(experts / groups.count) experts hold num_experts_per_tok, which is \(expertsPerToken)")
        }
        return nil
    }

    private var problemOfExpertChoice: Problem? {
        guard selection == .expertChoice else { return nil }
        let reason = "experts choose tokens (topk_method is \"expert_choice\")"
        if renormalizes {
            return Problem(field: "norm_topk_prob", found: "true", expected: "false, because \(reason)")
        }
        if let groups {
            return Problem(field: "n_group", found: "\(groups.count)", expected: "1, because \(reason)")
        }
        if let biasUpdateRate {
            return Problem(
                field: "router_bias_update_rate", found: "\(biasUpdateRate)",
                expected: "absent, because \(reason): loads are equal")
        }
        if balancesSequences {
            return Problem(field: "seq_aux", found: "true", expected: "false, because \(reason): loads are equal")
        }
        return nil
    }
}
