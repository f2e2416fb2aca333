import Foundation
import Layers
import Mixtral
import Testing

/// `config.json` of the types besides Mixtral.
@Suite struct ModelTypeConfigurationTests {
    private static let sizes = #"""
        "vocab_size": 65, "hidden_size": 128, "intermediate_size": 200, "moe_intermediate_size": 32, "num_hidden_layers": 6,
        "num_attention_heads": 8, "num_key_value_heads": 4, "num_experts": 16, "num_experts_per_tok": 2,
        "max_position_embeddings": 64
        """#
    private static let parts = [
        ModelType.qwen2MoE: #""shared_expert_intermediate_size": 48"#, .dots1: #""n_shared_experts": 2"#,
    ]

    /// Of a field that stands twice, the first value counts.
    private static func read(_ type: String, _ fields: String = "") throws -> MixtralConfiguration {
        let part = ModelType(rawValue: type).flatMap { parts[$0] }
        let all = [#""model_type": "\#(type)""#, fields, part ?? "", sizes].filter { !$0.isEmpty }
        return try MixtralConfiguration(json: Data("{\(all.joined(separator: ", "))}".utf8))
    }

    /// The published models' files, as far as they say something of the model, and how many weights these have.
    @Test(arguments: [
        (
            #"""
            {"model_type": "olmoe", "attention_bias": false, "attention_dropout": 0.0, "clip_qkv": null, "eos_token_id": 50279,
            "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 1024,
            "max_position_embeddings": 4096, "norm_topk_prob": false, "num_attention_heads": 16, "num_experts": 64,
            "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "output_router_logits": false,
            "pad_token_id": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
            "router_aux_loss_coef": 0.01, "tie_word_embeddings": false, "vocab_size": 50304}
            """#, 6_919_161_856
        ),
        (
            #"""
            {"model_type": "qwen2_moe", "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
            "decoder_sparse_step": 1, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
            "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21, "moe_intermediate_size": 1408,
            "norm_topk_prob": false, "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
            "num_hidden_layers": 24, "num_key_value_heads": 16, "output_router_logits": false, "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "shared_expert_intermediate_size": 5632,
            "sliding_window": 32768, "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936}
            """#, 14_315_784_192
        ),
        (
            #"""
            {"model_type": "qwen3_moe", "attention_bias": false, "bos_token_id": 151643, "decoder_sparse_step": 1,
            "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
            "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [], "moe_intermediate_size": 768,
            "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
            "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06,
            "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
            "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936}
            """#, 30_532_122_624
        ),
        (
            #"""
            {"model_type": "deepseek", "attention_bias": false, "attention_dropout": 0.0, "aux_loss_alpha": 0.001,
            "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1, "hidden_act": "silu",
            "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 10944, "max_position_embeddings": 4096,
            "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_routed_experts": 64, "n_shared_experts": 2,
            "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 28,
            "num_key_value_heads": 16, "pretraining_tp": 1, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000,
            "scoring_func": "softmax", "seq_aux": true, "tie_word_embeddings": false, "vocab_size": 102400}
            """#, 16_375_728_128
        ),
    ])
    func publishedModels(json: String, parameters: Int) throws {
        let configuration = try MixtralConfiguration(json: Data(json.utf8))
        #expect(configuration.parameterCount == parameters)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    @Test func absentFieldsAreThoseOfTheType() throws {
        let olmoe = try Self.read("olmoe")
        #expect(olmoe.queryKeyNorm?.scope == .allHeads && olmoe.projectionBiases == .none)
        #expect(olmoe.queryKeyNorm?.epsilon == 1e-5)
        #expect(olmoe.widths == .uniform(200) && olmoe.denseWidth == nil && olmoe.rmsNormEpsilon == 1e-5)
        #expect(olmoe.ropeTheta == 1e4 && !olmoe.routing.renormalizes && olmoe.routerAuxiliaryLossCoefficient == 0.01)
        let qwen2 = try Self.read("qwen2_moe")
        #expect(qwen2.projectionBiases == .inputs && qwen2.queryKeyNorm == nil && qwen2.rmsNormEpsilon == 1e-6)
        #expect(qwen2.widths == .uniform(32) && qwen2.denseWidth == 200 && qwen2.sharedExpertWidth == 48)
        #expect(qwen2.hasSharedGate && qwen2.sparseLayers == Array(0..<6) && !qwen2.tiesEmbeddings)
        let qwen3 = try Self.read("qwen3_moe")
        #expect(qwen3.queryKeyNorm?.scope == .head && qwen3.projectionBiases == .none)
        #expect(qwen3.sharedExpertWidth == nil && qwen3.routing.score == .softmax)
        let dots = try Self.read("dots1")
        #expect(dots.routing.score == .sigmoid && dots.routing.biasUpdateRate == 1e-3 && dots.sharedExpertWidth == 64)
        #expect(!dots.hasSharedGate && dots.auxiliaryLossCoefficient == 0 && dots.queryKeyNorm?.scope == .head)
        let deepSeek = try Self.read("deepseek")
        #expect(deepSeek.routing.balancesSequences && deepSeek.auxiliaryLossCoefficient == 0.001)
        #expect(deepSeek.sharedExpertWidth == nil && deepSeek.queryKeyNorm == nil)
        #expect(try Self.read("dots1", #""scoring_func": "noaux_tc""#) == dots)
    }

    @Test(arguments: [
        ("qwen2_moe", #""decoder_sparse_step": 2"#, [1, 3, 5]),
        ("qwen3_moe", #""mlp_only_layers": [0, 4]"#, [1, 2, 3, 5]),
        ("qwen3_moe", #""decoder_sparse_step": 3, "mlp_only_layers": [2]"#, [5]),
        ("dots1", #""first_k_dense_replace": 2"#, [2, 3, 4, 5]), ("deepseek", #""moe_layer_freq": 2"#, [0, 2, 4]),
        ("deepseek", #""first_k_dense_replace": 1, "moe_layer_freq": 3"#, [3]),
        ("deepseek", #""first_k_dense_replace": 3, "moe_layer_freq": 2"#, [4]),
        ("deepseek", #""first_k_dense_replace": 5"#, [5]), ("deepseek", #""moe_layer_freq": 6"#, [0]),
    ])
    func denseLayers(type: String, fields: String, sparse: [Int]) throws {
        let configuration = try Self.read(type, fields)
        #expect(configuration.sparseLayers == sparse)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    @Test(arguments: [
        ("olmoe", #""intermediate_size": [1, 2, 3, 4, 5, 6]"#, ExpertWidths.perLayer([1, 2, 3, 4, 5, 6])),
        ("mixtral", #""intermediate_size": [7, 7, 7, 7, 7, 7]"#, .uniform(7)),
        ("qwen3_moe", #""moe_intermediate_size": [3, 9], "mlp_only_layers": [0, 1, 2, 4]"#, .perLayer([3, 9])),
        (
            "dots1",
            #"""
            "moe_intermediate_size": [[1, 2, 3], [5, 5, 5]], "first_k_dense_replace": 4, "num_experts": 3,
            "shared_expert_intermediate_size": 11
            """#, .perExpert([[1, 2, 3], [5, 5, 5]])
        ),
        (
            "deepseek", #""moe_intermediate_size": [[4, 4], [5, 5]], "first_k_dense_replace": 4, "num_experts": 2"#,
            .perLayer([4, 5])
        ),
    ])
    func widths(type: String, fields: String, expected: ExpertWidths) throws {
        let configuration = try Self.read(type, fields)
        #expect(configuration.widths == expected)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    @Test(arguments: [
        ("deepseek_v2", "", "model_type", "latent"), ("deepseek_v3", "", "model_type", "latent"),
        ("gpt_oss", "", "model_type", "qwen3_moe"), ("deepseek", #""kv_lora_rank": 512"#, "kv_lora_rank", "latent"),
        ("olmoe", #""clip_qkv": 8.0"#, "clip_qkv", "null"), ("olmoe", #""head_dim": 32"#, "head_dim", "128 / 8"),
        ("deepseek", #""head_dim": 32"#, "head_dim", "128 / 8"), ("deepseek", #""seq_aux": false"#, "seq_aux", "true"),
        ("deepseek", #""aux_loss_alpha": -1"#, "aux_loss_alpha", "0.0 to"),
        ("deepseek", #""topk_method": "expert_choice""#, "aux_loss_alpha", "experts choose"),
        (
            "qwen3_moe", #""topk_method": "expert_choice", "router_aux_loss_coef": 0.1"#, "router_aux_loss_coef",
            "experts choose"
        ),
        ("mixtral", #""mlp_only_layers": [1]"#, "mlp_only_layers", "do not have it"),
        ("mixtral", #""n_shared_experts": 2"#, "n_shared_experts", "do not have it"),
        ("qwen2_moe", #""first_k_dense_replace": 1"#, "first_k_dense_replace", "do not have it"),
        ("qwen3_moe", #""shared_expert_intermediate_size": 8"#, "shared_expert_intermediate_size", "do not have it"),
        ("dots1", #""moe_layer_freq": 2"#, "moe_layer_freq", "do not have it"),
        ("dots1", #""topk_method": "greedy""#, "topk_method", "noaux_tc"),
        ("dots1", #""scoring_func": "softmax""#, "scoring_func", "sigmoid"),
        ("dots1", #""n_shared_experts": 0"#, "n_shared_experts", "from 1"),
        ("dots1", #""sliding_window": 8, "max_window_layers": 3"#, "sliding_window", "max_position_embeddings"),
        ("qwen2_moe", #""use_sliding_window": true, "sliding_window": 8"#, "sliding_window", "max_position_embeddings"),
        ("qwen3_moe", #""mlp_only_layers": [6]"#, "mlp_only_layers", "0 to 5"),
        ("qwen3_moe", #""mlp_only_layers": 1"#, "mlp_only_layers", "a list"),
        ("qwen3_moe", #""decoder_sparse_step": 7"#, "mlp_only_layers", "has experts"),
        ("deepseek", #""first_k_dense_replace": 6"#, "first_k_dense_replace", "has experts"),
        ("olmoe", #""qkv_bias": true"#, "qkv_bias", "no such biases"),
        ("olmoe", #""intermediate_size": [1, 2]"#, "intermediate_size", "6 layers"),
        ("olmoe", #""intermediate_size": [1, 2, 3, 4, 5, 0]"#, "intermediate_size", "6 layers"),
        (
            "qwen3_moe", #""moe_intermediate_size": [[1], [2], [3], [4], [5], [6]]"#, "moe_intermediate_size",
            "16 experts"
        ),
        ("qwen3_moe", #""moe_intermediate_size": 0"#, "moe_intermediate_size", "from 1"),
        ("qwen3_moe", #""attention_bias": 1"#, "attention_bias", "true or false"),
    ])
    func whatIsNotSupportedIsRefusedByName(type: String, fields: String, field: String, words: String) throws {
        let error = #expect(throws: MixtralConfigurationError.self) { try Self.read(type, fields) }
        #expect(error?.code == .unsupported && error?.field == field, "\(String(describing: error))")
        #expect(error?.expected.contains(words) == true, "\(String(describing: error))")
    }

    /// There is no balance loss that could be of the batch.
    @Test(arguments: [
        (#""topk_method": "expert_choice", "aux_loss_alpha": 0"#, RoutingPolicy.Selection.expertChoice),
        (#""aux_loss_alpha": 0"#, .tokenChoice), (#""output_router_logits": false"#, .tokenChoice),
    ])
    func aDeepSeekWithoutBalanceLoss(fields: String, selection: RoutingPolicy.Selection) throws {
        let configuration = try Self.read("deepseek", fields + #", "seq_aux": false"#)
        #expect(configuration.routing.selection == selection && !configuration.routing.balancesSequences)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    @Test(arguments: [
        ("qwen2_moe", "shared_expert_intermediate_size"), ("qwen3_moe", "moe_intermediate_size"),
        ("dots1", "n_shared_experts"), ("olmoe", "num_experts"), ("deepseek", "num_experts_per_tok"),
        ("qwen3_moe", "intermediate_size"), ("deepseek", "max_position_embeddings"),
    ])
    func missingSizesAreNamed(type: String, field: String) throws {
        let whole = String(decoding: try Self.read(type).json(), as: UTF8.self)
        let name =
            type == "deepseek" || type == "dots1" ? field.replacing("num_experts\"", with: "n_routed_experts\"") : field
        let json = whole.replacing("\"\(name)\"", with: "\"other\"")
        let error = #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(json: Data(json.utf8)) }
        #expect(error?.code == .missing && error?.field == field, "\(String(describing: error))")
    }

    private static let fullLayers = Array(repeating: #""full_attention""#, count: 6).joined(separator: ", ")
    private static let fullEverywhere = #""layer_types": [\#(fullLayers)]"#

    /// Files whose window is 4096, as transformers reads them, or whose `layer_types` it refuses.
    static let windows: [(type: String, fields: String)] = [
        ("qwen2_moe", #""use_sliding_window": true"#),
        ("qwen2_moe", #""use_sliding_window": true, "max_window_layers": 1"#),
        ("qwen2_moe", #""use_sliding_window": true, "layer_types": []"#),
        ("qwen2_moe", #""use_sliding_window": true, "layer_types": ["full_attention"]"#),
        ("qwen3_moe", #""use_sliding_window": true"#),
        ("qwen3_moe", #""use_sliding_window": true, "max_window_layers": 48"#),
        ("qwen3_moe", #""use_sliding_window": true, \#(fullEverywhere)"#),
        ("dots1", #""max_window_layers": 5"#), ("dots1", #""max_window_layers": 62, "layer_types": []"#),
        ("dots1", #""layer_types": [\#(fullLayers.replacing("full", with: "sliding"))]"#),
        ("mixtral", #""sliding_window": 4096, \#(fullEverywhere)"#),
        ("mixtral", #""sliding_window": 4096, "layer_types": []"#),
        ("olmoe", #""sliding_window": 4096, \#(fullEverywhere)"#),
    ]

    @Test(arguments: windows) func aWindowThatSequencesOutgrowIsRefused(type: String, fields: String) throws {
        let error = #expect(throws: MixtralConfigurationError.self) {
            try Self.read(type, #""max_position_embeddings": 4097, \#(fields)"#)
        }
        #expect(error?.code == .unsupported && error?.field == "sliding_window", "\(String(describing: error))")
        let found = fields.contains(#""sliding_window""#) ? "4096" : "absent, which means 4096"
        #expect(error?.found == found && error?.expected.contains("4097") == true)
        #expect(try Self.read(type, #""max_position_embeddings": 4096, \#(fields)"#).maximumPositions == 4096)
    }

    /// Files of which no layer has a window, as transformers reads them.
    static let windowless: [(type: String, fields: String)] = [
        ("qwen2_moe", #""use_sliding_window": null"#), ("qwen3_moe", #""use_sliding_window": null"#),
        ("qwen3_moe", #""use_sliding_window": false, "sliding_window": 8"#),
        ("qwen2_moe", #""use_sliding_window": true, "sliding_window": null"#),
        ("qwen3_moe", #""use_sliding_window": true, "sliding_window": null"#),
        ("qwen2_moe", #""use_sliding_window": true, "max_window_layers": 0"#),
        ("qwen2_moe", #""use_sliding_window": true, \#(fullEverywhere)"#),
        ("dots1", #""max_window_layers": null"#), ("dots1", #""max_window_layers": 6"#),
        ("dots1", #""max_window_layers": 5, "sliding_window": null"#),
        ("dots1", #""max_window_layers": 5, \#(fullEverywhere)"#), ("mixtral", fullEverywhere),
    ]

    @Test(arguments: windowless) func aWindowThatNoLayerHasChangesNothing(type: String, fields: String) throws {
        let configuration = try Self.read(type, #""max_position_embeddings": 8192, \#(fields)"#)
        #expect(configuration.maximumPositions == 8192)
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    /// That is, where a file does not say one.
    @Test func onlyOLMoEHasAPaddingToken() throws {
        for type in ModelType.allCases {
            let expected: Int? = type == .olmoe ? 1 : nil
            #expect(try Self.read(type.rawValue).paddingToken == expected, "\(type)")
        }
        let cases: [(fields: String, token: Int?)] = [
            (#""pad_token_id": null"#, nil), (#""vocab_size": 1"#, nil), (#""vocab_size": 2"#, 1),
            (#""pad_token_id": 3"#, 3),
        ]
        for (fields, token) in cases {
            let configuration = try Self.read("olmoe", fields)
            #expect(configuration.paddingToken == token, "\(fields)")
            #expect(try MixtralConfiguration(json: configuration.json()) == configuration, "\(fields)")
        }
    }

    /// Widths of which no dense shared expert follows.
    @Test func aSharedExpertNeedsAWidth() throws {
        let fields = #""moe_intermediate_size": [1, 2, 3, 4, 5, 6], "n_shared_experts": 2"#
        let error = #expect(throws: MixtralConfigurationError.self) { try Self.read("deepseek", fields) }
        #expect(error?.code == .missing && error?.field == "shared_expert_intermediate_size")
    }
}
