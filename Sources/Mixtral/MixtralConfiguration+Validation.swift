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
    func validate(headDimensionIsGiven: Bool, denseLayers: Set<Int>) throws(MixtralConfigurationError) {
        let traits = modelType.traits
        try require("vocab_size", vocabularySize, atMost: MixtralLimits.vocabularySize)
        try require("hidden_size", hiddenSize, atMost: MixtralLimits.hiddenSize)
        try require("num_hidden_layers", layers, atMost: MixtralLimits.layers)
        try require("num_attention_heads", heads, atMost: MixtralLimits.heads)
        try require("num_key_value_heads", keyValueHeads, atMost: heads)
        try require(
            traits.expertCountField, experts, atMost: min(MixtralLimits.experts, MixtralLimits.allExperts / layers))
        try validateDenseLayers(denseLayers)
        try validateWidths()
        try validateRouting()
        try require("max_position_embeddings", maximumPositions, atMost: MixtralLimits.positions)
        try require("rms_norm_eps", rmsNormEpsilon, 1e-30...1)
        try require("rope_theta", ropeTheta, 1...1e12)
        try require("initializer_range", initializerRange, 0...1e3)
        try require(traits.auxiliaryLossField, routerAuxiliaryLossCoefficient, 0...1e6)
        try validateHeads(headDimensionIsGiven: headDimensionIsGiven)
        for (field, token) in [("bos_token_id", beginToken), ("pad_token_id", paddingToken)] {
            if let token { try require(token: token, field) }
        }
        for token in endTokens { try require(token: token, "eos_token_id") }
        try validateSize()
    }

    private func validateHeads(headDimensionIsGiven: Bool) throws(MixtralConfigurationError) {
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
        guard heads * headDimension == hiddenSize || !(queryKeyNorm?.scope == .allHeads || modelType == .deepseek)
        else {
            throw .unsupported(
                "head_dim", found: "\(headDimension)",
                expected: "hidden_size / num_attention_heads, \(hiddenSize) / \(heads), as all of this type have it")
        }
        guard !hasAttentionBiases || modelType.traits.biasField != nil else {
            throw .unsupported(
                "attention_bias", found: "true", expected: "false: a Mixtral's projections have no biases")
        }
    }

    private func validateDenseLayers(_ dense: Set<Int>) throws(MixtralConfigurationError) {
        let listed = "[\(dense.sorted().prefix(8).map(String.init).joined(separator: ", "))]"
        guard dense.allSatisfy({ (0..<layers).contains($0) }), !sparseLayers.isEmpty else {
            throw .unsupported(
                "mlp_only_layers", found: listed, expected: "some of the layers 0 to \(layers - 1), but not all")
        }
        switch modelType.traits.denseLayers {
        case .none where !dense.isEmpty:
            throw .unsupported("mlp_only_layers", found: listed, expected: "[]: all layers of this type have experts")
        case .leading(let hasFrequency):
            let pattern = leadingDenseLayers
            guard pattern?.frequency == 1 || hasFrequency && pattern != nil else {
                throw .unsupported(
                    "first_k_dense_replace", found: "dense layers \(listed)",
                    expected: hasFrequency
                        ? "dense first layers, and then all whose index a number does not divide"
                        : "dense first layers and none behind")
            }
        case .none, .listed: break
        }
    }

    /// `first_k_dense_replace` and `moe_layer_freq` that make the layers dense that are; nil when none do.
    var leadingDenseLayers: (count: Int, frequency: Int)? {
        guard let first = sparseLayers.first else { return nil }
        let frequency =
            sparseLayers.count > 1 ? sparseLayers[1] - first : first == layers - 1 ? 1 : first == 0 ? layers : first
        return (first..<layers).filter { $0 % frequency == 0 } == sparseLayers ? (first, frequency) : nil
    }

    private func validateWidths() throws(MixtralConfigurationError) {
        let limit = MixtralLimits.intermediateSize
        let field = modelType.traits.expertWidthField
        let fits =
            switch widths {
            case .uniform: true
            case .perLayer(let widths): widths.count == sparseLayers.count
            case .perExpert(let widths): widths.map(\.count) == sparseLayers.map { _ in experts }
            }
        guard fits else {
            throw .unsupported(
                field, found: "\(widths.value)",
                expected:
                    "a list with one for each of \(sparseLayers.count) layers with experts, or a list for each of these with "
                    + "one for each of \(experts) experts")
        }
        for width in widths.distinct.sorted() { try require(field, width, atMost: limit) }
        if let denseWidth { try require("intermediate_size", denseWidth, atMost: limit) }
        if let sharedExpertWidth { try require("shared_expert_intermediate_size", sharedExpertWidth, atMost: limit) }
        let isAllowed =
            switch modelType.traits.sharing {
            case .none: sharedExpertWidth == nil
            case .gated, .plain(isOptional: false): sharedExpertWidth != nil
            case .plain: true
            }
        guard isAllowed else {
            throw .unsupported(
                "shared_expert_intermediate_size", found: sharedExpertWidth.map { "\($0)" } ?? "null",
                expected: sharedExpertWidth == nil
                    ? "a whole number: all of this type have a shared expert"
                    : "null: none of this type has a shared expert")
        }
    }

    private func validateRouting() throws(MixtralConfigurationError) {
        guard modelType != .dots1 || (routing.score == .sigmoid && routing.biasUpdateRate != nil) else {
            throw .unsupported(
                routing.score == .sigmoid ? "topk_method" : "scoring_func", found: "another",
                expected: routing.score == .sigmoid
                    ? "\"noaux_tc\", as all of this type have it" : "\"sigmoid\", as all of this type have it")
        }
        guard !balancesBatchesByLayer || auxiliaryLossCoefficient == 0 else {
            throw .unsupported(
                "seq_aux", found: "false",
                expected:
                    "true, or \(modelType.traits.auxiliaryLossField) 0: what false means in models of this type, a balance "
                    + "loss of the batch for each layer, is not supported")
        }
        if let problem = routing.problem(experts: experts) {
            throw .unsupported(problem.field, found: problem.found, expected: problem.expected)
        }
        if routing.selection == .expertChoice && auxiliaryLossCoefficient != 0 {
            throw .unsupported(
                modelType.traits.auxiliaryLossField, found: "\(auxiliaryLossCoefficient)",
                expected: "0, because experts choose tokens (topk_method is \"expert_choice\"): loads are equal")
        }
    }

    /// Whether a balance loss would be one that is not there: `seq_aux` false in DeepSeek's code.
    package var balancesBatchesByLayer: Bool {
        modelType == .deepseek && !routing.balancesSequences && routing.selection != .expertChoice
    }

    /// The limits above keep the products of two from overflow, not those of all.
    private func validateSize() throws(MixtralConfigurationError) {
        let widest = Double(widths.distinct.max() ?? 0) * Double(experts)
        let network = widest + Double(denseWidth ?? 0) + Double(sharedExpertWidth ?? 0)
        let size = 3 * network * Double(hiddenSize) * Double(layers)
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
