import Foundation
import Layers
import Mixtral
import Testing

@Suite struct MixtralConfigurationTests {
    /// Sizes without which there is no model.
    private static let sizes = #"""
        "vocab_size": 65, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8
        """#

    /// Of a field that stands twice, the first value counts: `fields` may replace sizes.
    private static func read(_ fields: String) throws -> MixtralConfiguration {
        try MixtralConfiguration(json: Data("{\(fields)\(fields.isEmpty ? "" : ", ")\(sizes)}".utf8))
    }

    @Test func absentFieldsHaveTheDefaultsOfHuggingFace() throws {
        let configuration = try Self.read("")
        #expect(configuration.vocabularySize == 65 && configuration.hiddenSize == 128)
        #expect(configuration.widths == .uniform(256) && configuration.layers == 4 && configuration.heads == 8)
        #expect(configuration.keyValueHeads == 8 && configuration.headDimension == 16)
        #expect(configuration.experts == 8 && configuration.expertsPerToken == 2)
        #expect(configuration.maximumPositions == 131_072 && configuration.ropeTheta == 1e6)
        #expect(configuration.rmsNormEpsilon == 1e-5 && configuration.initializerRange == 0.02)
        #expect(configuration.routerAuxiliaryLossCoefficient == 0.001)
        #expect(!configuration.outputsRouterLogits && configuration.auxiliaryLossCoefficient == 0)
        #expect(configuration.beginToken == nil && configuration.endTokens == [] && configuration.paddingToken == nil)
    }

    @Test(arguments: [
        (#""num_key_value_heads": null"#, 8), (#""num_key_value_heads": 2"#, 2), (#""num_key_value_heads": 1"#, 1),
    ])
    func keyValueHeads(fields: String, expected: Int) throws {
        #expect(try Self.read(fields).keyValueHeads == expected)
    }

    @Test(arguments: [
        (#""head_dim": null"#, 16), (#""head_dim": 40"#, 40), (#""head_dim": 40, "hidden_size": 100"#, 40),
    ])
    func headDimension(fields: String, expected: Int) throws {
        #expect(try Self.read(fields).headDimension == expected)
    }

    @Test(arguments: [
        (#""rope_theta": 10000"#, 1e4),
        (#""rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}"#, 5e3),
        (#""rope_parameters": {"rope_theta": 5000.0}, "rope_theta": 5000"#, 5e3),
        (#""rope_parameters": {"rope_type": "default"}, "rope_theta": 700"#, 700),
        (#""rope_parameters": null, "rope_scaling": null, "rope_theta": 2.5e5"#, 2.5e5),
        (#""rope_scaling": {"type": "default"}"#, 1e6),
        (#""rope_scaling": {"rope_theta": 5000.0, "rope_type": "default"}"#, 5e3),
        (#""rope_scaling": {"rope_theta": 5000}, "rope_theta": 5000"#, 5e3),
        (#""rope_scaling": {"type": "default"}, "rope_theta": 700"#, 700),
        (#""rope_scaling": {}, "rope_parameters": {"rope_theta": 5000.0}"#, 5e3),
        (#""rope_scaling": {"rope_theta": 5000.0}, "rope_parameters": {"rope_type": "default"}"#, 5e3),
    ])
    func ropeTheta(fields: String, expected: Double) throws {
        #expect(try Self.read(fields).ropeTheta == expected)
    }

    @Test func routingIsRead() throws {
        #expect(try Self.read("").routing == RoutingPolicy())
        let deepSeek = try Self.read(
            #"""
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "n_group": 4, "topk_group": 2, "norm_topk_prob": true,
            "routed_scaling_factor": 2.5, "num_experts_per_tok": 3, "seq_aux": true
            """#
        ).routing
        #expect(deepSeek.score == .sigmoid && deepSeek.groups == RoutingPolicy.Groups(count: 4, perToken: 2))
        #expect(deepSeek.biasUpdateRate == 0.001 && deepSeek.renormalizes && deepSeek.scalingFactor == 2.5)
        #expect(deepSeek.expertsPerToken == 3 && deepSeek.balancesSequences)
        // As transformers has it where a file says nothing.
        let oneGroup = try Self.read(#""topk_method": "noaux_tc", "n_group": 2"#).routing
        #expect(oneGroup.groups == RoutingPolicy.Groups(count: 2, perToken: 1))
        let expertChoice = try Self.read(#""topk_method": "expert_choice""#).routing
        #expect(expertChoice.selection == .expertChoice && !expertChoice.renormalizes)
    }

    @Test func auxiliaryLossNeedsTheRoutersLogits() throws {
        let on = try Self.read(#""output_router_logits": true, "router_aux_loss_coef": 0.02"#)
        #expect(on.auxiliaryLossCoefficient == 0.02)
        let off = try Self.read(#""output_router_logits": false, "router_aux_loss_coef": 0.02"#)
        #expect(off.auxiliaryLossCoefficient == 0 && off.routerAuxiliaryLossCoefficient == 0.02)
        #expect(try Self.read(#""router_aux_loss_coef": 0.02"#).auxiliaryLossCoefficient == 0.02)
        #expect(try Self.read(#""output_router_logits": null"#).auxiliaryLossCoefficient == 0)
    }

    @Test func harmlessFieldsAreIgnored() throws {
        let configuration = try Self.read(
            #"""
            "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "transformers_version": "4.36.0.dev0",
            "torch_dtype": "bfloat16", "use_cache": true, "sliding_window": 131072, "tie_word_embeddings": false,
            "attention_dropout": 0.0, "router_jitter_noise": 0, "hidden_act": "silu", "anything": [{"else": null}],
            "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 0, "num_local_experts": 16.0
            """#)
        #expect(configuration.experts == 16)
        #expect(configuration.beginToken == 1 && configuration.endTokens == [2, 3] && configuration.paddingToken == 0)
    }

    /// What is refused, by name and with what was found.
    static let refusals: [(fields: String, field: String, found: String)] = [
        (#""model_type": "llama""#, "model_type", #""llama""#),
        (#""hidden_act": "gelu""#, "hidden_act", #""gelu""#),
        (#""tie_word_embeddings": 1"#, "tie_word_embeddings", "1"),
        (#""sliding_window": 4096"#, "sliding_window", "4096"),
        (#""sliding_window": "none""#, "sliding_window", #""none""#),
        (#""router_jitter_noise": 1"#, "router_jitter_noise", "1"),
        (#""scoring_func": "tanh""#, "scoring_func", #""tanh""#),
        (#""topk_method": "random""#, "topk_method", #""random""#),
        (#""norm_topk_prob": "no""#, "norm_topk_prob", #""no""#),
        (#""router_pre_softmax": false, "scoring_func": "sigmoid""#, "router_pre_softmax", "false"),
        (#""router_pre_softmax": false, "norm_topk_prob": false"#, "norm_topk_prob", "false"),
        (#""routed_scaling_factor": 0"#, "routed_scaling_factor", "0"),
        (#""n_group": 2"#, "n_group", "2"),
        (#""topk_group": 2"#, "topk_group", "2"),
        (#""n_group": 3, "topk_method": "noaux_tc""#, "n_group", "3"),
        (#""n_group": 2, "topk_group": 3, "topk_method": "noaux_tc""#, "topk_group", "3"),
        (#""n_group": 8, "topk_group": 1, "topk_method": "group_limited_greedy""#, "topk_group", "1"),
        (#""router_bias_update_rate": 0.001"#, "router_bias_update_rate", "0.001"),
        (#""router_bias_update_rate": 2, "topk_method": "noaux_tc""#, "router_bias_update_rate", "2"),
        (#""router_z_loss_coef": -1"#, "router_z_loss_coef", "-1"),
        (#""seq_aux": 1"#, "seq_aux", "1"),
        (#""topk_method": "expert_choice", "norm_topk_prob": true"#, "norm_topk_prob", "true"),
        (#""topk_method": "expert_choice", "router_pre_softmax": false"#, "norm_topk_prob", "false"),
        (#""topk_method": "expert_choice", "seq_aux": true"#, "seq_aux", "true"),
        (#""topk_method": "expert_choice", "n_group": 2"#, "n_group", "2"),
        (#""topk_method": "expert_choice", "router_aux_loss_coef": 0.01"#, "router_aux_loss_coef", "0.01"),
        (#""attention_dropout": 0.1"#, "attention_dropout", "0.1"),
        (#""attention_bias": true"#, "attention_bias", "true"),
        (#""quantization_config": {"bits": 4}"#, "quantization_config", #"{"bits": 4}"#),
        (#""rope_parameters": {"rope_type": "yarn"}"#, "rope_parameters.rope_type", #""yarn""#),
        (#""rope_scaling": {"type": "linear", "factor": 2.0}"#, "rope_scaling.type", #""linear""#),
        (#""rope_scaling": 2"#, "rope_scaling", "2"),
        (#""rope_parameters": {"rope_theta": 0}"#, "rope_parameters.rope_theta", "0"),
        (#""rope_parameters": {"rope_theta": 5000.0}, "rope_theta": 100"#, "rope_theta", "100"),
        (#""rope_scaling": {"rope_theta": 5000.0}, "rope_theta": 100"#, "rope_theta", "100"),
        (
            #""rope_scaling": {"rope_theta": 5000}, "rope_parameters": {"rope_theta": 100}"#,
            "rope_parameters.rope_theta", "100"
        ),
        // transformers does not look into rope_parameters then, and takes the default.
        (
            #""rope_scaling": {"type": "default"}, "rope_parameters": {"rope_theta": 100}"#,
            "rope_parameters.rope_theta", "100"
        ),
        (#""rope_scaling": {"rope_theta": "big"}"#, "rope_scaling.rope_theta", #""big""#),
        (#""rope_theta": "big""#, "rope_theta", #""big""#),
        (#""rope_theta": -1"#, "rope_theta", "-1"),
        (#""vocab_size": 0"#, "vocab_size", "0"),
        (#""vocab_size": "65""#, "vocab_size", #""65""#),
        (#""vocab_size": 9223372036854775807"#, "vocab_size", "9223372036854775807"),
        (#""vocab_size": 2147483647"#, "vocab_size", "2147483647"),
        (#""hidden_size": -128"#, "hidden_size", "-128"),
        (#""hidden_size": 128.5"#, "hidden_size", "128.5"),
        (#""hidden_size": true"#, "hidden_size", "true"),
        (#""hidden_size": 1e30"#, "hidden_size", "1e+30"),
        (#""hidden_size": 100"#, "num_attention_heads", "8"),
        (#""intermediate_size": [256]"#, "intermediate_size", "[256]"),
        (#""num_hidden_layers": 100000"#, "num_hidden_layers", "100000"),
        (#""num_attention_heads": 0"#, "num_attention_heads", "0"),
        (#""num_attention_heads": 3"#, "num_key_value_heads", "8"),
        (#""num_key_value_heads": 3"#, "num_key_value_heads", "3"),
        (#""num_key_value_heads": 16"#, "num_key_value_heads", "16"),
        (#""head_dim": 15"#, "head_dim", "15"),
        (#""head_dim": 0"#, "head_dim", "0"),
        (#""num_attention_heads": 128, "num_key_value_heads": null"#, "head_dim", "1"),
        (#""num_local_experts": 0"#, "num_local_experts", "0"),
        (#""num_local_experts": 100000"#, "num_local_experts", "100000"),
        (#""num_experts_per_tok": 9"#, "num_experts_per_tok", "9"),
        (#""num_experts_per_tok": 0"#, "num_experts_per_tok", "0"),
        (#""max_position_embeddings": 0"#, "max_position_embeddings", "0"),
        (#""max_position_embeddings": 1000000000000"#, "max_position_embeddings", "1000000000000"),
        (#""rms_norm_eps": 0"#, "rms_norm_eps", "0.0"),
        (#""rms_norm_eps": -1e-5"#, "rms_norm_eps", "-1e-05"),
        (#""initializer_range": -0.02"#, "initializer_range", "-0.02"),
        (#""router_aux_loss_coef": -1"#, "router_aux_loss_coef", "-1"),
        (#""output_router_logits": 1"#, "output_router_logits", "1"),
        (#""pad_token_id": 65"#, "pad_token_id", "65"),
        (#""bos_token_id": -1"#, "bos_token_id", "-1"),
        (#""eos_token_id": 1000"#, "eos_token_id", "1000"),
        (#""eos_token_id": ["a"]"#, "eos_token_id", #"["a"]"#),
    ]

    @Test(arguments: refusals)
    func whatIsNotSupportedIsRefusedByName(fields: String, field: String, found: String) throws {
        let error = #expect(throws: MixtralConfigurationError.self) { try Self.read(fields) }
        #expect(error?.code == .unsupported)
        #expect(error?.field == field)
        #expect(error?.found == found)
        #expect("\(try #require(error))".hasPrefix("model configuration: \(field) is \(found); it must be "))
    }

    @Test func modelsOfImpossibleSizeAreRefused() {
        let error = #expect(throws: MixtralConfigurationError.self) {
            try MixtralConfiguration(
                json: Data(
                    #"""
                    {"vocab_size": 1048576, "hidden_size": 131072, "intermediate_size": 1048576,
                    "num_hidden_layers": 1024, "num_attention_heads": 1024, "num_key_value_heads": null,
                    "head_dim": 4096, "num_local_experts": 256}
                    """#.utf8))
        }
        #expect(error?.field == "num_hidden_layers" && error?.code == .unsupported)
    }

    @Test(arguments: ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"])
    func missingSizesAreNamed(field: String) {
        let json = "{\(Self.sizes)}".replacingOccurrences(of: "\"\(field)\"", with: "\"other\"")
        let error = #expect(throws: MixtralConfigurationError.self) {
            try MixtralConfiguration(json: Data(json.utf8))
        }
        #expect(error?.code == .missing && error?.field == field)
    }

    @Test(arguments: ["", "{", "[]", "null", "3", "{\"vocab_size\": }", "{\"hidden_size\": 1e999}", "\u{0}"])
    func whatIsNotJSONIsRefused(text: String) {
        let error = #expect(throws: MixtralConfigurationError.self) {
            try MixtralConfiguration(json: Data(text.utf8))
        }
        #expect(error?.code == .malformed)
    }

    @Test func deepNestingIsNoTrap() {
        let text = "{\"a\": " + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + "}"
        #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(json: Data(text.utf8)) }
    }
}
