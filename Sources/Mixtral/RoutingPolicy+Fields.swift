import Layers

/// How a router chooses, in a `config.json`: the fields of DeepSeek-V2 and V3, Qwen's and Mixtral's configurations where they have it,
/// and Megatron-Core's names for the rest.
extension RoutingPolicy {
    /// The policy that the fields ask for, but for K. Absent ones mean what models of the type have.
    init(_ fields: ConfigurationFields, _ type: ModelType) throws(MixtralConfigurationError) {
        self = type.traits.routing
        // The published dots.llm1 says so of its scores, which are sigmoids.
        if type != .dots1 || fields["scoring_func"] != .string("noaux_tc") {
            try fields.allow(
                "scoring_func", Score.allCases.map { .string($0.rawValue) }, "\"softmax\" or \"sigmoid\"")
            if case .string(let name) = fields["scoring_func"] { score = Score(rawValue: name) ?? score }
        }
        let methods = ["greedy", "group_limited_greedy", "noaux_tc", "expert_choice"]
        try fields.allow(
            "topk_method", methods.map { .string($0) }, methods.map { "\"\($0)\"" }.joined(separator: ", "))
        let method = fields["topk_method"]
        if method == .string("expert_choice") { selection = .expertChoice }
        let hasBiases = method == .string("noaux_tc") || (method == .null && biasUpdateRate != nil)
        renormalizes = try fields.boolean("norm_topk_prob", absent: renormalizes && selection == .tokenChoice)
        softmaxIsOfSelected = try !fields.boolean("router_pre_softmax", absent: true)
        scalingFactor = try fields.number("routed_scaling_factor", 1e-6...1e6, absent: 1)
        groups = try Self.groups(
            fields, areAllowed: hasBiases || method == .string("group_limited_greedy"))
        let rate = try fields.number("router_bias_update_rate", 0...1, absent: hasBiases ? 1e-3 : -1)
        guard hasBiases || rate == -1 else {
            throw fields.unsupported(
                "router_bias_update_rate", fields["router_bias_update_rate"],
                "absent unless topk_method is \"noaux_tc\", which gives experts a bias")
        }
        biasUpdateRate = hasBiases ? rate : nil
        jitter = try fields.number("router_jitter_noise", 0...0.99, absent: 0)
        zLossCoefficient = try fields.number("router_z_loss_coef", 0...1e6, absent: 0)
        balancesSequences = try fields.boolean("seq_aux", absent: balancesSequences && selection == .tokenChoice)
    }

    private static func groups(
        _ fields: ConfigurationFields, areAllowed: Bool
    ) throws(MixtralConfigurationError) -> Groups? {
        let count = try fields.integer("n_group", 1...MixtralLimits.experts, absent: 1)
        let perToken = try fields.integer("topk_group", 1...MixtralLimits.experts, absent: 1)
        if count == 1 && perToken == 1 { return nil }
        guard areAllowed else {
            throw fields.unsupported(
                count == 1 ? "topk_group" : "n_group", fields[count == 1 ? "topk_group" : "n_group"],
                "1 unless topk_method is \"group_limited_greedy\" or \"noaux_tc\"")
        }
        return Groups(count: count, perToken: perToken)
    }

    /// What differs from models of the type, but for K; and what all but Mixtral's files say.
    func fields(of type: ModelType) -> [String: ConfigurationValue] {
        let usual = type.traits.routing
        var fields = [String: ConfigurationValue]()
        if score != usual.score { fields["scoring_func"] = .string(score.rawValue) }
        if selection == .expertChoice {
            fields["topk_method"] = .string("expert_choice")
        } else if biasUpdateRate != nil {
            if usual.biasUpdateRate == nil { fields["topk_method"] = .string("noaux_tc") }
        } else if groups != nil {
            fields["topk_method"] = .string("group_limited_greedy")
        } else if usual.biasUpdateRate != nil {
            fields["topk_method"] = .string("greedy")
        }
        if type != .mixtral || renormalizes != (selection == .tokenChoice) {
            fields["norm_topk_prob"] = .boolean(renormalizes)
        }
        if softmaxIsOfSelected { fields["router_pre_softmax"] = .boolean(false) }
        if scalingFactor != 1 { fields["routed_scaling_factor"] = .number(scalingFactor) }
        if let groups {
            fields["n_group"] = .integer(groups.count)
            fields["topk_group"] = .integer(groups.perToken)
        }
        if let biasUpdateRate, biasUpdateRate != usual.biasUpdateRate {
            fields["router_bias_update_rate"] = .number(biasUpdateRate)
        }
        if type == .mixtral || jitter != 0 { fields["router_jitter_noise"] = .number(jitter) }
        if zLossCoefficient != 0 { fields["router_z_loss_coef"] = .number(zLossCoefficient) }
        if balancesSequences != (usual.balancesSequences && selection == .tokenChoice) {
            fields["seq_aux"] = .boolean(balancesSequences)
        }
        return fields
    }
}
