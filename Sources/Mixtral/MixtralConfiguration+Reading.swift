import Foundation
import Layers

/// Reading a `config.json`. Absent fields have the values that transformers gives them, sizes have to be there (but for a Mixtral's experts);
/// fields that do not change the model are ignored, those that ask for something else than this program has are refused.
extension MixtralConfiguration {
    /// - Parameter json: the contents of a `config.json`.
    /// - Throws: `MixtralConfigurationError` that names the field, what it holds and what it may hold.
    public init(json: Data) throws(MixtralConfigurationError) {
        let fields = try ConfigurationFields(json: json)
        let type = try Self.modelType(fields)
        let traits = type.traits
        try Self.refuseOtherModels(fields, traits)

        let maximum = Int(Int32.max)  // The limits proper come with the values' meaning.
        let heads = try fields.integer("num_attention_heads", 1...MixtralLimits.heads)
        // Null means all heads, absent Hugging Face's default.
        let keyValueHeads = fields.contains("num_key_value_heads") ? heads : traits.keyValueHeads ?? heads
        let layers = try fields.integer("num_hidden_layers", 1...MixtralLimits.layers)
        let counts = [traits.expertCountField, "num_experts", "num_local_experts"]
        let experts = try fields.integer(
            counts.first(where: fields.contains) ?? traits.expertCountField, 1...maximum, absent: traits.expertCount)
        let dense = try Self.denseLayers(fields, traits, layers: layers)
        let widths = try ExpertWidths(
            fields, traits.expertWidthField, layers: layers - dense.count, experts: experts)
        try self.init(
            modelType: type,
            vocabularySize: fields.integer("vocab_size", 1...maximum),
            hiddenSize: fields.integer("hidden_size", 1...maximum),
            intermediateSize: 1, layers: layers, heads: heads,
            keyValueHeads: fields.integer("num_key_value_heads", 1...heads, absent: keyValueHeads),
            headDimension: fields.optionalInteger("head_dim", 2...MixtralLimits.headDimension),
            hasAttentionBiases: traits.biasField.map { name throws(MixtralConfigurationError) in
                try fields.boolean(name, absent: traits.biasIsDefault)
            } ?? false,
            experts: experts,
            expertsPerToken: fields.integer("num_experts_per_tok", 1...maximum, absent: traits.expertsPerToken),
            widths: widths, denseLayers: dense,
            denseWidth: traits.hasDenseWidth ? fields.integer("intermediate_size", 1...maximum) : nil,
            sharedExpertWidth: Self.sharedExpertWidth(fields, traits, widths),
            tiesEmbeddings: fields.boolean("tie_word_embeddings", absent: false),
            maximumPositions: fields.integer("max_position_embeddings", 1...maximum, absent: traits.maximumPositions),
            rmsNormEpsilon: fields.number("rms_norm_eps", 0...1, absent: traits.rmsNormEpsilon),
            ropeTheta: Self.ropeTheta(fields, absent: traits.ropeTheta),
            initializerRange: fields.number("initializer_range", 0...1e3, absent: 0.02),
            routerAuxiliaryLossCoefficient: fields.number(
                traits.auxiliaryLossField, 0...1e6, absent: traits.auxiliaryLossCoefficient),
            outputsRouterLogits: Self.outputsRouterLogits(fields, traits),
            routing: RoutingPolicy(fields, type),
            beginToken: fields.optionalInteger("bos_token_id", 0...maximum),
            endTokens: Self.endTokens(fields),
            paddingToken: Self.paddingToken(fields, type))
        try refuseShortWindow(fields)
    }

    private static func modelType(_ fields: ConfigurationFields) throws(MixtralConfigurationError) -> ModelType {
        guard fields["model_type"] != .null else { return .mixtral }
        if case .string(let name) = fields["model_type"], let type = ModelType(rawValue: name) { return type }
        let names = ModelType.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
        let latent = ["deepseek_v2", "deepseek_v3", "deepseek_v32"].map(ConfigurationValue.string)
        throw fields.unsupported(
            "model_type", fields["model_type"],
            latent.contains(fields["model_type"])
                ? "one of \(names): multi-head latent attention (MLA) is not supported" : "one of \(names)")
    }

    private static func refuseOtherModels(
        _ fields: ConfigurationFields, _ traits: ModelTraits
    ) throws(MixtralConfigurationError) {
        try fields.allow("hidden_act", [.string("silu"), .string("swish")], "\"silu\"")
        let none: [ConfigurationValue] = [.integer(0), .number(0)]
        try fields.allow("attention_dropout", none, "0: dropout is not supported")
        try fields.allow("partial_rotary_factor", [.integer(1), .number(1)], "1")
        try fields.allow("quantization_config", [], "null: quantized weights are not supported")
        try fields.allow("kv_lora_rank", [], "null: multi-head latent attention (MLA) is not supported")
        try fields.allow("clip_qkv", [], "null: clipped queries, keys and values are not supported")
        for field in ["attention_bias", "qkv_bias"] where field != traits.biasField {
            try fields.allow(field, [.boolean(false)], "false: projections of this type have no such biases")
        }
        // Parts that this type does not have.
        let isListed = if case .listed = traits.denseLayers { true } else { false }
        let (isLeading, hasFrequency) =
            if case .leading(let hasFrequency) = traits.denseLayers { (true, hasFrequency) } else { (false, false) }
        let (isPlain, isShared) =
            switch traits.sharing {
            case .none: (false, false)
            case .gated: (false, true)
            case .plain: (true, true)
            }
        for (field, isKnown, value) in [
            ("mlp_only_layers", isListed, .array([])), ("decoder_sparse_step", isListed, .integer(1)),
            ("first_k_dense_replace", isLeading, .integer(0)), ("moe_layer_freq", hasFrequency, .integer(1)),
            ("n_shared_experts", isPlain, .integer(0)), ("shared_expert_intermediate_size", isShared, .integer(0)),
        ] as [(String, Bool, ConfigurationValue)] where !isKnown {
            try fields.allow(field, [value], "\(value): models of this type do not have it")
        }
    }

    private static func denseLayers(
        _ fields: ConfigurationFields, _ traits: ModelTraits, layers: Int
    ) throws(MixtralConfigurationError) -> Set<Int> {
        var dense = Set<Int>()
        switch traits.denseLayers {
        case .none: break
        case .listed:
            let step = try fields.integer("decoder_sparse_step", 1...MixtralLimits.layers, absent: 1)
            dense = Set((0..<layers).filter { ($0 + 1) % step != 0 })
            if case .array(let listed) = fields["mlp_only_layers"] {
                for value in listed {
                    guard case .integer(let layer) = value, (0..<layers).contains(layer) else {
                        throw fields.unsupported(
                            "mlp_only_layers", .array(listed), "a list of some of the layers 0 to \(layers - 1)")
                    }
                    dense.insert(layer)
                }
            } else {
                try fields.allow("mlp_only_layers", [], "a list of layers")
            }
        case .leading(let hasFrequency):
            let first = try fields.integer("first_k_dense_replace", 0...MixtralLimits.layers, absent: 0)
            let frequency =
                hasFrequency ? try fields.integer("moe_layer_freq", 1...MixtralLimits.layers, absent: 1) : 1
            dense = Set((0..<layers).filter { $0 < first || $0 % frequency != 0 })
        }
        guard dense.count < layers else {
            let field =
                if case .listed = traits.denseLayers { "mlp_only_layers" } else { "first_k_dense_replace" }
            throw fields.unsupported(field, fields[field], "so that a layer of the \(layers) has experts")
        }
        return dense
    }

    private static func sharedExpertWidth(
        _ fields: ConfigurationFields, _ traits: ModelTraits, _ widths: ExpertWidths
    ) throws(MixtralConfigurationError) -> Int? {
        let limits = 1...MixtralLimits.intermediateSize
        switch traits.sharing {
        case .none: return nil
        case .gated: return try fields.integer("shared_expert_intermediate_size", limits)
        case .plain(let isOptional):
            let count = try fields.optionalInteger("n_shared_experts", (isOptional ? 0 : 1)...limits.upperBound)
            guard let count else {
                if isOptional { return nil }
                throw .missing("n_shared_experts", expected: "a whole number from 1 to \(limits.upperBound)")
            }
            if count == 0 { return nil }
            if let width = try fields.optionalInteger("shared_expert_intermediate_size", limits) { return width }
            guard case .uniform(let width) = widths else {
                throw .missing(
                    "shared_expert_intermediate_size",
                    expected: "the shared expert's width, because experts have several (\(traits.expertWidthField))")
            }
            return count * width
        }
    }

    /// What asks for the balance loss in training.
    private static func outputsRouterLogits(
        _ fields: ConfigurationFields, _ traits: ModelTraits
    ) throws(MixtralConfigurationError) -> Bool {
        let isAlways = traits.auxiliaryLossField == "aux_loss_alpha"
        return try fields.boolean(
            "output_router_logits", absent: isAlways || fields[traits.auxiliaryLossField] != .null)
    }

    /// As transformers takes it, from the first of its places that says something; others may only say the same.
    private static func ropeTheta(
        _ fields: ConfigurationFields, absent: Double
    ) throws(MixtralConfigurationError) -> Double {
        let range = 1...1e12
        let objects = try fields.ropeObjects()
        for parameters in objects {
            for type in ["rope_type", "type"] {
                try parameters.allow(type, [.string("default")], "\"default\": scaled positions are not supported")
            }
            try parameters.allow("partial_rotary_factor", [.integer(1), .number(1)], "1")
        }
        let top = try fields.number("rope_theta", range, absent: absent)
        // An object that says nothing of the base still hides the one behind it.
        let theta = try objects.first { !$0.values.isEmpty }?.number("rope_theta", range, absent: top) ?? top
        for place in objects + [fields] {
            guard try place.number("rope_theta", range, absent: theta) == theta else {
                throw place.unsupported(
                    "rope_theta", place["rope_theta"], "absent, or \(theta), which transformers takes from this file")
            }
        }
        return theta
    }

    /// One number, or several.
    private static func endTokens(_ fields: ConfigurationFields) throws(MixtralConfigurationError) -> [Int] {
        guard case .array(let values) = fields["eos_token_id"] else {
            return try fields.optionalInteger("eos_token_id", 0...Int(Int32.max)).map { [$0] } ?? []
        }
        var tokens = [Int]()
        for value in values {
            guard case .integer(let token) = value else {
                throw fields.unsupported("eos_token_id", .array(values), "a token, a list of tokens, or null")
            }
            tokens.append(token)
        }
        return tokens
    }

    /// Null means none. Absent, an OLMoE's is 1, if it has such a token.
    private static func paddingToken(
        _ fields: ConfigurationFields, _ type: ModelType
    ) throws(MixtralConfigurationError) -> Int? {
        let tokens = 0...Int(Int32.max)
        if type == .olmoe, !fields.contains("pad_token_id"), try fields.integer("vocab_size", tokens) > 1 { return 1 }
        return try fields.optionalInteger("pad_token_id", tokens)
    }

    /// A window that no sequence outgrows, or that no layer looks through, changes nothing.
    private func refuseShortWindow(_ fields: ConfigurationFields) throws(MixtralConfigurationError) {
        guard try looksThroughWindow(fields) else { return }
        let isSaid = fields.contains("sliding_window")
        switch isSaid ? fields["sliding_window"] : absentWindow {
        case .null: return
        case .integer(let window) where window >= maximumPositions: return
        case let value:
            throw .unsupported(
                "sliding_window", found: isSaid ? "\(value)" : "absent, which means \(value)",
                expected: "null, or at least max_position_embeddings, which is \(maximumPositions)")
        }
    }

    /// The window of a file that does not say it; one that says null has none.
    private var absentWindow: ConfigurationValue {
        switch modelType {
        case .mixtral, .olmoe, .deepseek: .null
        case .qwen2MoE, .qwen3MoE, .dots1: .integer(4096)
        }
    }

    /// Whether a layer looks through the window, if there is one. Most types' code in transformers does not read `layer_types`.
    private func looksThroughWindow(_ fields: ConfigurationFields) throws(MixtralConfigurationError) -> Bool {
        let numbers = 0...Int(Int32.max)
        switch modelType {
        case .mixtral, .olmoe, .deepseek: return true
        case .qwen3MoE: return try fields.boolean("use_sliding_window", absent: false)
        case .qwen2MoE:
            guard try fields.boolean("use_sliding_window", absent: false) else { return false }
            if let isListed = listsWindow(fields) { return isListed }
            // Every second layer before this one does, from the first.
            return try fields.integer("max_window_layers", numbers, absent: 28) > 0
        case .dots1:
            if let isListed = listsWindow(fields) { return isListed }
            return try fields.integer("max_window_layers", numbers, absent: 62) < layers
        }
    }

    /// Whether `layer_types` has another attention than full, or not one for each layer; nil: the file does not have it.
    private func listsWindow(_ fields: ConfigurationFields) -> Bool? {
        switch fields["layer_types"] {
        case .null: nil
        case .array(let types): types.count != layers || types.contains { $0 != .string("full_attention") }
        default: true
        }
    }
}

extension ConfigurationFields {
    /// What a file says of rotary positions beside its top level, in the order in which transformers looks: old files have `rope_scaling`,
    /// those of transformers 5 `rope_parameters`. Either may hold `rope_theta`.
    package func ropeObjects() throws(MixtralConfigurationError) -> [ConfigurationFields] {
        try [object("rope_scaling"), object("rope_parameters")].compactMap { $0 }
    }
}
