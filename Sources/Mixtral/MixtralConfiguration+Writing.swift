import Foundation
import Layers

extension MixtralConfiguration {
    /// A `config.json` that transformers 4 and 5 load, if they know models of the type with one width of experts. It has `rope_theta` in both places and the type of weights under both
    /// names; and numbers that are real have a fraction, because transformers 5 refuses a whole number in their place.
    /// - Parameter weightType: of the weights beside it, as transformers calls it.
    public func json(weightType: String = "float32") -> Data {
        var fields = fields
        for name in ["dtype", "torch_dtype"] { fields[name] = .string(weightType) }
        return Data((ConfigurationValue.object(fields).json() + "\n").utf8)
    }

    /// The first field of `config.json` that is another one in `other`, with both values; nil when all are the same.
    public func firstDifference(from other: MixtralConfiguration) -> (field: String, own: String, other: String)? {
        let (own, theirs) = (fields, other.fields)
        return Set(own.keys).union(theirs.keys).sorted().lazy.compactMap { field in
            own[field] == theirs[field] ? nil : (field, "\(own[field] ?? .null)", "\(theirs[field] ?? .null)")
        }.first
    }

    /// Every field of `config.json` with its value, for comparisons.
    package var fieldTexts: [String: String] { fields.mapValues { "\($0)" } }

    private var fields: [String: ConfigurationValue] {
        let endToken: ConfigurationValue =
            switch endTokens.count {
            case 0: .null
            case 1: .integer(endTokens[0])
            default: .array(endTokens.map(ConfigurationValue.integer))
            }
        let traits = modelType.traits
        let own: [String: ConfigurationValue] = [
            "architectures": .array([.string(traits.architecture)]),
            "model_type": .string(modelType.rawValue),

            "vocab_size": .integer(vocabularySize),
            "hidden_size": .integer(hiddenSize),
            "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(heads),
            "num_key_value_heads": .integer(keyValueHeads),
            "head_dim": .integer(headDimension),
            traits.expertCountField: .integer(experts),
            traits.expertWidthField: widths.value,
            "num_experts_per_tok": .integer(expertsPerToken),
            "max_position_embeddings": .integer(maximumPositions),

            "rms_norm_eps": .number(rmsNormEpsilon),
            "rope_theta": .number(ropeTheta),
            "rope_parameters": .object(["rope_theta": .number(ropeTheta), "rope_type": .string("default")]),
            "hidden_act": .string("silu"),
            "attention_dropout": .number(0),
            "sliding_window": .null,
            "tie_word_embeddings": .boolean(tiesEmbeddings),

            "initializer_range": .number(initializerRange),
            traits.auxiliaryLossField: .number(routerAuxiliaryLossCoefficient),
            "output_router_logits": .boolean(outputsRouterLogits),

            // Absent, these would be 1 and 2 to transformers.
            "bos_token_id": beginToken.map(ConfigurationValue.integer) ?? .null,
            "pad_token_id": paddingToken.map(ConfigurationValue.integer) ?? .null,
            "eos_token_id": endToken,
        ]
        return own.merging(partFields) { own, _ in own }.merging(routing.fields(of: modelType)) { own, _ in own }
    }

    /// Of the parts that not all types have.
    private var partFields: [String: ConfigurationValue] {
        let traits = modelType.traits
        var fields = [String: ConfigurationValue]()
        if let denseWidth { fields["intermediate_size"] = .integer(denseWidth) }
        if let field = traits.biasField { fields[field] = .boolean(hasAttentionBiases) }
        switch traits.denseLayers {
        case .none: break
        case .listed:
            let sparse = Set(sparseLayers)
            fields["mlp_only_layers"] = .array(
                (0..<layers).filter { !sparse.contains($0) }.map(ConfigurationValue.integer))
            fields["decoder_sparse_step"] = .integer(1)
            fields["use_sliding_window"] = .boolean(false)
        case .leading(let hasFrequency):
            let (count, frequency) = leadingDenseLayers ?? (0, 1)
            fields["first_k_dense_replace"] = .integer(count)
            if hasFrequency { fields["moe_layer_freq"] = .integer(frequency) }
        }
        switch (traits.sharing, sharedExpertWidth) {
        case (.none, _): break
        case (.gated, let width?): fields["shared_expert_intermediate_size"] = .integer(width)
        case (.plain, let shared?):
            if case .uniform(let width) = widths, shared % width == 0 {
                fields["n_shared_experts"] = .integer(shared / width)
            } else {
                fields["n_shared_experts"] = .integer(1)
                fields["shared_expert_intermediate_size"] = .integer(shared)
            }
        case (.gated, nil), (.plain, nil): fields["n_shared_experts"] = .null
        }
        return fields
    }
}
