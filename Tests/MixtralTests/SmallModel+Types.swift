import Layers
import Mixtral

extension MixtralConfiguration {
    /// A small model of each type with all that the type may have, and one of several widths of experts.
    static func samples() throws -> [(name: String, configuration: MixtralConfiguration)] {
        [
            ("mixtral, tied", try sample(.mixtral, tiesEmbeddings: true)),
            ("olmoe", try sample(.olmoe, hasAttentionBiases: true, routing: { $0.renormalizes = true })),
            (
                "qwen2_moe",
                try sample(.qwen2MoE, hasAttentionBiases: true, denseLayers: [1], sharedExpertWidth: 5)
            ),
            (
                "qwen3_moe",
                try sample(
                    .qwen3MoE, headDimension: 6, hasAttentionBiases: true, denseLayers: [0], tiesEmbeddings: true)
            ),
            (
                "dots1",
                try sample(
                    .dots1, hasAttentionBiases: true, denseLayers: [0], sharedExpertWidth: 14,
                    routing: {
                        $0.groups = RoutingPolicy.Groups(count: 2, perToken: 1)
                        $0.scalingFactor = 1.5
                    })
            ),
            ("deepseek", try sample(.deepseek, denseLayers: [1], sharedExpertWidth: 7)),
            ("deepseek without a shared expert", try sample(.deepseek, hasAttentionBiases: true)),
            (
                "widths",
                try sample(
                    .qwen2MoE, denseLayers: [1], sharedExpertWidth: 3,
                    widths: .perExpert([[1, 7, 3, 5], [2, 2, 9, 4]]))
            ),
        ]
    }

    static func sample(
        _ type: ModelType, headDimension: Int = 4, hasAttentionBiases: Bool = false, denseLayers: Set<Int> = [],
        sharedExpertWidth: Int? = nil, widths: ExpertWidths? = nil, tiesEmbeddings: Bool = false,
        routing change: (inout RoutingPolicy) -> Void = { _ in }
    ) throws -> MixtralConfiguration {
        // The type's own, as a file that says nothing of it asks for.
        var routing = try MixtralConfiguration(
            modelType: type, vocabularySize: 2, hiddenSize: 2, intermediateSize: 1, layers: 1, heads: 1, experts: 4,
            sharedExpertWidth: type == .qwen2MoE || type == .dots1 ? 1 : nil
        ).routing
        change(&routing)
        return try MixtralConfiguration(
            modelType: type, vocabularySize: 11, hiddenSize: 16, intermediateSize: 7, layers: 3, heads: 4,
            keyValueHeads: 2, headDimension: headDimension, hasAttentionBiases: hasAttentionBiases, experts: 4,
            expertsPerToken: 2, widths: widths, denseLayers: denseLayers, denseWidth: 8,
            sharedExpertWidth: sharedExpertWidth, tiesEmbeddings: tiesEmbeddings, maximumPositions: 16,
            rmsNormEpsilon: 1e-3, ropeTheta: 100, routing: routing)
    }
}
