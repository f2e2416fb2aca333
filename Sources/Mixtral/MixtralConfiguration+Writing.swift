import Foundation
import Layers

extension MixtralConfiguration {
    /// A `config.json` that transformers 4 and 5 load. It has `rope_theta` in both places and the type of weights under both
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

    private var fields: [String: ConfigurationValue] {
        let endToken: ConfigurationValue =
            switch endTokens.count {
            case 0: .null
            case 1: .integer(endTokens[0])
            default: .array(endTokens.map(ConfigurationValue.integer))
            }
        let own: [String: ConfigurationValue] = [
            "architectures": .array([.string("MixtralForCausalLM")]),
            "model_type": .string("mixtral"),

            "vocab_size": .integer(vocabularySize),
            "hidden_size": .integer(hiddenSize),
            "intermediate_size": .integer(intermediateSize),
            "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(heads),
            "num_key_value_heads": .integer(keyValueHeads),
            "head_dim": .integer(headDimension),
            "num_local_experts": .integer(experts),
            "num_experts_per_tok": .integer(expertsPerToken),
            "max_position_embeddings": .integer(maximumPositions),

            "rms_norm_eps": .number(rmsNormEpsilon),
            "rope_theta": .number(ropeTheta),
            "rope_parameters": .object(["rope_theta": .number(ropeTheta), "rope_type": .string("default")]),
            "hidden_act": .string("silu"),
            "attention_dropout": .number(0),
            "sliding_window": .null,
            "tie_word_embeddings": .boolean(false),

            "initializer_range": .number(initializerRange),
            "router_aux_loss_coef": .number(routerAuxiliaryLossCoefficient),
            "output_router_logits": .boolean(outputsRouterLogits),
            "router_jitter_noise": .number(routing.jitter),

            // Absent, these would be 1 and 2 to transformers.
            "bos_token_id": beginToken.map(ConfigurationValue.integer) ?? .null,
            "pad_token_id": paddingToken.map(ConfigurationValue.integer) ?? .null,
            "eos_token_id": endToken,
        ]
        return own.merging(routing.fields) { own, _ in own }
    }
}
