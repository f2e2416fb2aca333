import Layers

/// A kind of model, as `model_type` of a `config.json` says. All are one decoder: they differ in which of its parts they have, and in what
/// their files call them.
public enum ModelType: String, Sendable, CaseIterable {
    case mixtral
    case olmoe
    case qwen2MoE = "qwen2_moe"
    case qwen3MoE = "qwen3_moe"
    case dots1
    /// DeepSeekMoE (Dai et al. 2024, arXiv:2401.06066), before there was latent attention.
    case deepseek
}

/// What follows from the type alone, as transformers has it; for `deepseek` as the code beside deepseek-ai/deepseek-moe-16b-base has it.
struct ModelTraits {
    /// How `config.json` says which layers are dense.
    enum DenseLayers {
        /// None are.
        case none
        /// `mlp_only_layers` lists them, and of the others those are sparse whose number, from 1, `decoder_sparse_step` divides.
        case listed
        /// Those before `first_k_dense_replace`, and those whose index `moe_layer_freq`, if there is one, does not divide.
        case leading(hasFrequency: Bool)
    }

    /// What the experts have beside them.
    enum Sharing {
        case none
        /// One of the width `shared_expert_intermediate_size`, with a gate.
        case gated
        /// `n_shared_experts` times as wide as an expert.
        case plain(isOptional: Bool)
    }

    var architecture: String
    var blockName = "mlp"
    var expertNames = ExpertNames.projections
    /// Fields of `config.json`.
    var expertCountField = "num_experts"
    var expertWidthField = "moe_intermediate_size"
    var auxiliaryLossField = "router_aux_loss_coef"
    /// Nil: projections have no biases.
    var biasField: String? = "attention_bias"
    /// Which projections have them, where any do.
    var biases = ProjectionBiases.all
    var biasIsDefault = false
    var norm: QueryKeyNorm.Scope?
    var denseLayers = DenseLayers.none
    var sharing = Sharing.none
    /// What is not said, where it may be left unsaid.
    var expertCount: Int?
    var expertsPerToken: Int?
    /// Nil: as many as heads.
    var keyValueHeads: Int?
    var maximumPositions: Int?
    var rmsNormEpsilon = 1e-6
    var ropeTheta = 10_000.0
    var auxiliaryLossCoefficient = 0.001
    var routing = ModelType.routing()

    /// Whether `intermediate_size` is that of dense layers, not of experts.
    var hasDenseWidth: Bool { expertWidthField != "intermediate_size" }
}

extension ModelType {
    var traits: ModelTraits {
        switch self {
        case .mixtral:
            ModelTraits(
                architecture: "MixtralForCausalLM", blockName: "block_sparse_moe", expertNames: .numbered,
                expertCountField: "num_local_experts", expertWidthField: "intermediate_size", biasField: nil,
                expertCount: 8, expertsPerToken: 2, keyValueHeads: 8, maximumPositions: 131_072, rmsNormEpsilon: 1e-5,
                ropeTheta: 1e6, routing: RoutingPolicy())
        case .olmoe:
            ModelTraits(
                architecture: "OlmoeForCausalLM", expertWidthField: "intermediate_size", norm: .allHeads,
                rmsNormEpsilon: 1e-5, auxiliaryLossCoefficient: 0.01)
        case .qwen2MoE:
            ModelTraits(
                architecture: "Qwen2MoeForCausalLM", biasField: "qkv_bias", biases: .inputs, biasIsDefault: true,
                denseLayers: .listed, sharing: .gated, keyValueHeads: 16)
        case .qwen3MoE:
            ModelTraits(
                architecture: "Qwen3MoeForCausalLM", norm: .head, denseLayers: .listed, keyValueHeads: 4)
        case .dots1:
            ModelTraits(
                architecture: "Dots1ForCausalLM", expertCountField: "n_routed_experts", norm: .head,
                denseLayers: .leading(hasFrequency: false), sharing: .plain(isOptional: false), keyValueHeads: 32,
                auxiliaryLossCoefficient: 0,
                routing: Self.routing {
                    $0.score = .sigmoid
                    $0.biasUpdateRate = 1e-3
                })
        case .deepseek:
            ModelTraits(
                architecture: "DeepseekForCausalLM", expertCountField: "n_routed_experts",
                auxiliaryLossField: "aux_loss_alpha", denseLayers: .leading(hasFrequency: true),
                sharing: .plain(isOptional: true), routing: Self.routing { $0.balancesSequences = true })
        }
    }

    /// Weights are as scores are, and what `change` changes.
    fileprivate static func routing(_ change: (inout RoutingPolicy) -> Void = { _ in }) -> RoutingPolicy {
        var routing = RoutingPolicy()
        routing.renormalizes = false
        change(&routing)
        return routing
    }
}
