import Foundation
import Mixtral

extension DenseModel {
    /// The mixture's `config.json`: the dense model's, with what is the mixture's alone.
    /// - Parameter expertWidth: F
    /// - Throws: `MixtralConfigurationError` that names the dense model's file when the mixture cannot be trained here.
    func mixtureConfiguration(_ upcycling: Upcycling, expertWidth: Int) throws -> MixtralConfiguration {
        var values = type.defaults.merging(fields.values) { $1 }
        do throws(MixtralConfigurationError) {
            if try (fields.ropeObjects() + [fields]).allSatisfy({ $0["rope_theta"] == .null }) {
                values["rope_theta"] = .number(10_000)
            }
            if try !looksThroughWindow() { values["sliding_window"] = .null }
        } catch {
            throw error.inFile(configurationFile)
        }
        // Absent or null means as many as heads.
        if (values["num_key_value_heads"] ?? .null) == .null {
            values["num_key_value_heads"] = fields["num_attention_heads"]
        }
        // Which layers have the window is told in another way in the mixture.
        for name in ["layer_types", "max_window_layers"] { values[name] = nil }
        values.merge(mixtureFields(upcycling, expertWidth: expertWidth)) { $1 }
        do {
            return try MixtralConfiguration(json: Data(ConfigurationValue.object(values).json().utf8))
        } catch {
            throw error.inFile(configurationFile)
        }
    }

    private func mixtureFields(_ upcycling: Upcycling, expertWidth: Int) -> [String: ConfigurationValue] {
        let common: [String: ConfigurationValue] = [
            "model_type": .string(type.mixture),
            "num_experts_per_tok": .integer(upcycling.expertsPerToken),
            // A token's weights add up to 1, so that copies of one network give what it gives.
            "norm_topk_prob": .boolean(true),
            // As the Switch Transformer (arXiv:2101.03961).
            "router_aux_loss_coef": .number(0.01),
            "output_router_logits": .boolean(true),
        ]
        let own: [String: ConfigurationValue] =
            switch type {
            case .llama, .mistral:
                ["num_local_experts": .integer(upcycling.experts), "intermediate_size": .integer(expertWidth)]
            case .qwen2, .qwen3:
                [
                    "num_experts": .integer(upcycling.experts), "moe_intermediate_size": .integer(expertWidth),
                    "decoder_sparse_step": .integer(1), "mlp_only_layers": .array([]),
                ]
            }
        let shared: [String: ConfigurationValue] =
            type.mixtureHasSharedExpert
            ? ["shared_expert_intermediate_size": .integer(width), "qkv_bias": .boolean(true)] : [:]
        return common.merging(own) { $1 }.merging(shared) { $1 }
    }
}
