/// The fields of `config.json`.
extension MixtralConfiguration: Encodable {
    private enum Key: String, CodingKey {
        case architectures
        case attentionDropout = "attention_dropout"
        case beginToken = "bos_token_id"
        case dtype
        case endTokens = "eos_token_id"
        case experts = "num_local_experts"
        case expertsPerToken = "num_experts_per_tok"
        case headDimension = "head_dim"
        case heads = "num_attention_heads"
        case hiddenActivation = "hidden_act"
        case hiddenSize = "hidden_size"
        case initializerRange = "initializer_range"
        case intermediateSize = "intermediate_size"
        case keyValueHeads = "num_key_value_heads"
        case layers = "num_hidden_layers"
        case maximumPositions = "max_position_embeddings"
        case modelType = "model_type"
        case outputsRouterLogits = "output_router_logits"
        case paddingToken = "pad_token_id"
        case rmsNormEpsilon = "rms_norm_eps"
        case ropeParameters = "rope_parameters"
        case ropeTheta = "rope_theta"
        case ropeType = "rope_type"
        case routerAuxiliaryLossCoefficient = "router_aux_loss_coef"
        case routerJitterNoise = "router_jitter_noise"
        case slidingWindow = "sliding_window"
        case tiesWordEmbeddings = "tie_word_embeddings"
        case torchDtype = "torch_dtype"
        case vocabularySize = "vocab_size"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(["MixtralForCausalLM"], forKey: .architectures)
        try container.encode("mixtral", forKey: .modelType)
        try container.encode("float32", forKey: .dtype)
        try container.encode("float32", forKey: .torchDtype)

        try container.encode(vocabularySize, forKey: .vocabularySize)
        try container.encode(hiddenSize, forKey: .hiddenSize)
        try container.encode(intermediateSize, forKey: .intermediateSize)
        try container.encode(layers, forKey: .layers)
        try container.encode(heads, forKey: .heads)
        try container.encode(keyValueHeads, forKey: .keyValueHeads)
        try container.encode(headDimension, forKey: .headDimension)
        try container.encode(experts, forKey: .experts)
        try container.encode(expertsPerToken, forKey: .expertsPerToken)
        try container.encode(maximumPositions, forKey: .maximumPositions)

        try container.encode(rmsNormEpsilon, forKey: .rmsNormEpsilon)
        try container.encode(ropeTheta, forKey: .ropeTheta)
        var rope = container.nestedContainer(keyedBy: Key.self, forKey: .ropeParameters)
        try rope.encode(ropeTheta, forKey: .ropeTheta)
        try rope.encode("default", forKey: .ropeType)
        try container.encode("silu", forKey: .hiddenActivation)
        try container.encode(0.0, forKey: .attentionDropout)
        try container.encodeNil(forKey: .slidingWindow)
        try container.encode(false, forKey: .tiesWordEmbeddings)

        try container.encode(initializerRange, forKey: .initializerRange)
        try container.encode(routerAuxiliaryLossCoefficient, forKey: .routerAuxiliaryLossCoefficient)
        try container.encode(outputsRouterLogits, forKey: .outputsRouterLogits)
        try container.encode(0.0, forKey: .routerJitterNoise)

        // Absent, these would be 1 and 2 to transformers.
        try container.encode(beginToken, forKey: .beginToken)
        try container.encode(paddingToken, forKey: .paddingToken)
        switch endTokens.count {
        case 0: try container.encodeNil(forKey: .endTokens)
        case 1: try container.encode(endTokens[0], forKey: .endTokens)
        default: try container.encode(endTokens, forKey: .endTokens)
        }
    }
}
