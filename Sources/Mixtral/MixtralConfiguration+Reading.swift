import Foundation
import Layers

/// Reading a `config.json`. Absent fields have the values that `MixtralConfig` gives them, sizes have to be there; fields
/// that do not change the model are ignored, those that ask for something else than this model are refused.
extension MixtralConfiguration {
    /// - Parameter json: the contents of a `config.json`.
    /// - Throws: `MixtralConfigurationError` that names the field, what it holds and what it may hold.
    public init(json: Data) throws(MixtralConfigurationError) {
        let fields = try ConfigurationFields(json: json)
        try Self.refuseOtherModels(fields)

        let maximum = Int(Int32.max)  // The limits proper come with the values' meaning.
        let heads = try fields.integer("num_attention_heads", 1...MixtralLimits.heads)
        // Null means all heads, absent Hugging Face's default.
        let keyValueHeads = fields.contains("num_key_value_heads") ? heads : 8
        try self.init(
            vocabularySize: fields.integer("vocab_size", 1...maximum),
            hiddenSize: fields.integer("hidden_size", 1...maximum),
            intermediateSize: fields.integer("intermediate_size", 1...maximum),
            layers: fields.integer("num_hidden_layers", 1...maximum),
            heads: heads,
            keyValueHeads: fields.integer("num_key_value_heads", 1...heads, absent: keyValueHeads),
            headDimension: fields.optionalInteger("head_dim", 2...MixtralLimits.headDimension),
            experts: fields.integer(
                fields.contains("num_experts") ? "num_experts" : "num_local_experts", 1...maximum, absent: 8),
            expertsPerToken: fields.integer("num_experts_per_tok", 1...maximum, absent: 2),
            maximumPositions: fields.integer("max_position_embeddings", 1...maximum, absent: 131_072),
            rmsNormEpsilon: fields.number("rms_norm_eps", 0...1, absent: 1e-5),
            ropeTheta: Self.ropeTheta(fields),
            initializerRange: fields.number("initializer_range", 0...1e3, absent: 0.02),
            routerAuxiliaryLossCoefficient: fields.number("router_aux_loss_coef", 0...1e6, absent: 0.001),
            outputsRouterLogits: fields.boolean(
                "output_router_logits", absent: fields["router_aux_loss_coef"] != .null),
            routing: RoutingPolicy(fields),
            beginToken: fields.optionalInteger("bos_token_id", 0...maximum),
            endTokens: Self.endTokens(fields),
            paddingToken: fields.optionalInteger("pad_token_id", 0...maximum))
        try refuseShortWindow(fields)
    }

    private static func refuseOtherModels(_ fields: ConfigurationFields) throws(MixtralConfigurationError) {
        try fields.allow("model_type", [.string("mixtral")], "\"mixtral\"")
        try fields.allow("hidden_act", [.string("silu"), .string("swish")], "\"silu\"")
        try fields.allow("tie_word_embeddings", [.boolean(false)], "false: the head has weights of its own")
        let none: [ConfigurationValue] = [.integer(0), .number(0)]
        try fields.allow("attention_dropout", none, "0: dropout is not supported")
        try fields.allow("attention_bias", [.boolean(false)], "false: a Mixtral's projections have no biases")
        try fields.allow("partial_rotary_factor", [.integer(1), .number(1)], "1")
        try fields.allow("quantization_config", [], "null: quantized weights are not supported")
    }

    /// Old files have `rope_theta` (and `rope_scaling`) at the top level, transformers 5 has it in `rope_parameters`.
    private static func ropeTheta(_ fields: ConfigurationFields) throws(MixtralConfigurationError) -> Double {
        let range = 1...1e12
        for name in ["rope_parameters", "rope_scaling"] {
            guard let parameters = try fields.object(name) else { continue }
            for type in ["rope_type", "type"] {
                try parameters.allow(type, [.string("default")], "\"default\": scaled positions are not supported")
            }
            try parameters.allow("partial_rotary_factor", [.integer(1), .number(1)], "1")
        }
        let top = try fields.number("rope_theta", range, absent: 1e6)
        guard let inner = try fields.object("rope_parameters"), inner["rope_theta"] != .null else { return top }
        let theta = try inner.number("rope_theta", range, absent: 1e6)
        guard fields["rope_theta"] == .null || top == theta else {
            throw fields.unsupported(
                "rope_theta", fields["rope_theta"],
                "absent, or the same as rope_parameters.rope_theta, which is \(theta)")
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

    /// A window that no sequence outgrows changes nothing.
    private func refuseShortWindow(_ fields: ConfigurationFields) throws(MixtralConfigurationError) {
        switch fields["sliding_window"] {
        case .null: return
        case .integer(let window) where window >= maximumPositions: return
        case let value:
            throw fields.unsupported(
                "sliding_window", value, "null, or at least max_position_embeddings, which is \(maximumPositions)")
        }
    }
}
