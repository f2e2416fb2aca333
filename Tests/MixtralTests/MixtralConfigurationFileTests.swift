import Foundation
import Mixtral
import Testing

@Suite struct MixtralConfigurationFileTests {
    @Test func aMissingFileIsNamed() {
        let path = "/nonexistent/config.json"
        let error = #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(file: path) }
        #expect(error?.code == .unreadable && error?.file == path)
    }

    @Test func errorsNameTheFile() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(#"{"hidden_size": "wide"}"#.utf8).write(to: file)
        let error = #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(file: file.path) }
        #expect(error.map { "\($0)".hasPrefix(file.path) } == true)
    }

    @Test(arguments: [
        try MixtralConfiguration(
            vocabularySize: 65, hiddenSize: 128, intermediateSize: 256, layers: 4, heads: 4, experts: 8),
        try MixtralConfiguration(
            vocabularySize: 300, hiddenSize: 96, intermediateSize: 17, layers: 1, heads: 6, keyValueHeads: 3,
            headDimension: 20, experts: 5, expertsPerToken: 3, maximumPositions: 77, rmsNormEpsilon: 1e-6,
            ropeTheta: 12345.5, initializerRange: 0.1, routerAuxiliaryLossCoefficient: 0.25,
            outputsRouterLogits: false, beginToken: 1, endTokens: [2, 299], paddingToken: 0),
    ])
    func whatIsWrittenIsReadBack(configuration: MixtralConfiguration) throws {
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    /// Each way of routing that a file can ask for, and every field of it.
    @Test(arguments: [
        #""norm_topk_prob": false, "routed_scaling_factor": 2.5"#,
        #""router_pre_softmax": false, "router_jitter_noise": 0.01"#,
        #""scoring_func": "sigmoid", "router_z_loss_coef": 0.001, "seq_aux": true, "router_aux_loss_coef": 0.0001"#,
        #""topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2"#,
        #""topk_method": "noaux_tc", "n_group": 4, "topk_group": 2, "router_bias_update_rate": 0.01"#,
        #""topk_method": "noaux_tc""#, #""topk_method": "greedy", "n_group": 1, "topk_group": 1"#,
        #""topk_method": "expert_choice", "scoring_func": "sigmoid""#,
    ])
    func routingIsWrittenAndReadBack(fields: String) throws {
        let sizes = #"""
            "vocab_size": 65, "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8
            """#
        let configuration = try MixtralConfiguration(json: Data("{\(fields), \(sizes)}".utf8))
        let plain = try MixtralConfiguration(json: Data("{\(sizes)}".utf8))
        #expect(configuration.routing != plain.routing || fields.contains("greedy"))
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
        let difference = plain.firstDifference(from: configuration)
        #expect((difference == nil) == (configuration == plain))
    }

    @Test func whatIsWrittenHasTheFieldsThatTransformersNeeds() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 65, hiddenSize: 128, intermediateSize: 256, layers: 4, heads: 4, experts: 8,
            ropeTheta: 10_000, endTokens: [7])
        let object = try JSONSerialization.jsonObject(with: configuration.json())
        let fields = try #require(object as? [String: Any])
        #expect(fields["architectures"] as? [String] == ["MixtralForCausalLM"])
        #expect(fields["model_type"] as? String == "mixtral")
        #expect(fields["dtype"] as? String == "float32" && fields["torch_dtype"] as? String == "float32")
        #expect(fields["rope_theta"] as? Double == 10_000)
        let rope = try #require(fields["rope_parameters"] as? [String: Any])
        #expect(rope["rope_theta"] as? Double == 10_000 && rope["rope_type"] as? String == "default")
        #expect(fields["bos_token_id"] is NSNull && fields["eos_token_id"] as? Int == 7)
        #expect(fields["sliding_window"] is NSNull)

        // transformers 5 refuses a whole number where it has a real one.
        let text = String(decoding: configuration.json(), as: UTF8.self)
        #expect(text.contains(#""rope_theta": 10000.0"#) && text.contains(#""router_jitter_noise": 0.0"#))
    }
}
