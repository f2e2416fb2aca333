import Layers
import Mixtral

extension MixtralConfiguration {
    /// A small model of each type with all that the type may have, and one of several widths of experts.
    /// - Parameter expertsPerToken: of four.
    static func samples(expertsPerToken: Int = 2) throws -> [(name: String, configuration: MixtralConfiguration)] {
        [
            (
                "mixtral, tied",
                try sample(
                    .mixtral, expertsPerToken: expertsPerToken, tiesEmbeddings: true)
            ),
            (
                "olmoe",
                try sample(
                    .olmoe, expertsPerToken: expertsPerToken, hasAttentionBiases: true,
                    routing: { $0.renormalizes = true })
            ),
            (
                "qwen2_moe",
                try sample(
                    .qwen2MoE, expertsPerToken: expertsPerToken, hasAttentionBiases: true, denseLayers: [1],
                    sharedExpertWidth: 5)
            ),
            (
                "qwen3_moe",
                try sample(
                    .qwen3MoE, expertsPerToken: expertsPerToken, headDimension: 6, hasAttentionBiases: true,
                    denseLayers: [0], tiesEmbeddings: true)
            ),
            (
                "dots1",
                try sample(
                    .dots1, expertsPerToken: expertsPerToken, hasAttentionBiases: true, denseLayers: [0],
                    sharedExpertWidth: 14,
                    routing: {
                        $0.groups = RoutingPolicy.Groups(count: 2, perToken: expertsPerToken / 2)
                        $0.scalingFactor = 1.5
                    })
            ),
            (
                "deepseek",
                try sample(
                    .deepseek, expertsPerToken: expertsPerToken, denseLayers: [1], sharedExpertWidth: 7)
            ),
            (
                "deepseek without a shared expert",
                try sample(
                    .deepseek, expertsPerToken: expertsPerToken, hasAttentionBiases: true)
            ),
            (
                "widths",
                try sample(
                    .qwen2MoE, expertsPerToken: expertsPerToken, denseLayers: [1], sharedExpertWidth: 3,
                    widths: .perExpert([[1, 7, 3, 5], [2, 2, 9, 4]]))
            ),
        ]
    }

    static func sample(
        _ type: ModelType, expertsPerToken: Int, headDimension: Int = 4, hasAttentionBiases: Bool = false,
        denseLayers: Set<Int> = [], sharedExpertWidth: Int? = nil, widths: ExpertWidths? = nil,
        tiesEmbeddings: Bool = false,
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
            expertsPerToken: expertsPerToken, widths: widths, denseLayers: denseLayers, denseWidth: 8,
            sharedExpertWidth: sharedExpertWidth, tiesEmbeddings: tiesEmbeddings, maximumPositions: 16,
            rmsNormEpsilon: 1e-3, ropeTheta: 100, routing: routing)
    }
}
