import Layers

/// Largest values, so that no file can ask for a model that overflows a count.
enum MixtralLimits {
    static let vocabularySize = 1 << 20
    static let hiddenSize = 1 << 17
    static let intermediateSize = 1 << 20
    static let layers = 1 << 10
    static let heads = 1 << 10
    static let headDimension = 1 << 12
    static let experts = 1 << 12
    /// In all layers: each is a handful of objects before any weight exists.
    static let allExperts = 1 << 18
    static let positions = 1 << 22
    /// Weights of the model.
    static let parameters = 1 << 44
    /// Bytes of `config.json`.
    static let fileSizeBytes = 1 << 24
}

extension MixtralConfiguration {
    func validate(headDimensionIsGiven: Bool) throws(MixtralConfigurationError) {
        try require("vocab_size", vocabularySize, atMost: MixtralLimits.vocabularySize)
        try require("hidden_size", hiddenSize, atMost: MixtralLimits.hiddenSize)
        try require("intermediate_size", intermediateSize, atMost: MixtralLimits.intermediateSize)
        try require("num_hidden_layers", layers, atMost: MixtralLimits.layers)
        try require("num_attention_heads", heads, atMost: MixtralLimits.heads)
        try require("num_key_value_heads", keyValueHeads, atMost: heads)
        try require("num_local_experts", experts, atMost: min(MixtralLimits.experts, MixtralLimits.allExperts / layers))
        try validateRouting()
        try require("max_position_embeddings", maximumPositions, atMost: MixtralLimits.positions)
        try require("rms_norm_eps", rmsNormEpsilon, 1e-30...1)
        try require("rope_theta", ropeTheta, 1...1e12)
        try require("initializer_range", initializerRange, 0...1e3)
        try require("router_aux_loss_coef", routerAuxiliaryLossCoefficient, 0...1e6)
        guard heads % keyValueHeads == 0 else {
            throw .unsupported(
                "num_key_value_heads", found: "\(keyValueHeads)",
                expected: "a divisor of num_attention_heads, which is \(heads)")
        }
        guard headDimensionIsGiven || hiddenSize % heads == 0 else {
            throw .unsupported(
                "num_attention_heads", found: "\(heads)",
                expected: "a divisor of hidden_size, which is \(hiddenSize), or head_dim must be given")
        }
        guard headDimension % 2 == 0, (2...MixtralLimits.headDimension).contains(headDimension) else {
            throw .unsupported(
                "head_dim", found: "\(headDimension)",
                expected: "even (rotary positions turn pairs) and from 2 to \(MixtralLimits.headDimension)")
        }
        for (field, token) in [("bos_token_id", beginToken), ("pad_token_id", paddingToken)] {
            if let token { try require(token: token, field) }
        }
        for token in endTokens { try require(token: token, "eos_token_id") }
        try validateSize()
    }

    private func validateRouting() throws(MixtralConfigurationError) {
        if let problem = routing.problem(experts: experts) {
            throw .unsupported(problem.field, found: problem.found, expected: problem.expected)
        }
        if routing.selection == .expertChoice && auxiliaryLossCoefficient != 0 {
            throw .unsupported(
                "router_aux_loss_coef", found: "\(auxiliaryLossCoefficient)",
                expected: "0, because experts choose tokens (topk_method is \"expert_choice\"): loads are equal")
        }
    }

    /// The limits above keep the products of two from overflow, not those of all.
    private func validateSize() throws(MixtralConfigurationError) {
        let size = 3 * Double(intermediateSize) * Double(hiddenSize) * Double(experts) * Double(layers)
        let rest = Double(layers) * Double(4 * heads * headDimension) * Double(hiddenSize)
        let table = 2 * Double(vocabularySize) * Double(hiddenSize)
        guard size + rest + table <= Double(MixtralLimits.parameters) else {
            throw .unsupported(
                "num_hidden_layers", found: "\(layers)",
                expected: "so few that the model has at most \(MixtralLimits.parameters) parameters")
        }
    }

    private func require(
        _ field: String, _ value: Int, atMost limit: Int
    ) throws(MixtralConfigurationError) {
        guard value >= 1, value <= limit else {
            throw .unsupported(field, found: "\(value)", expected: "a whole number from 1 to \(limit)")
        }
    }

    private func require(
        _ field: String, _ value: Double, _ range: ClosedRange<Double>
    ) throws(MixtralConfigurationError) {
        guard range.contains(value) else {
            throw .unsupported(
                field, found: "\(value)", expected: "a number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    private func require(token: Int, _ field: String) throws(MixtralConfigurationError) {
        guard token >= 0, token < vocabularySize else {
            throw .unsupported(
                field, found: "\(token)", expected: "a token below vocab_size, which is \(vocabularySize), or null")
        }
    }
}
