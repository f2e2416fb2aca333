import Foundation
import Layers

/// The shape of a model and what its training has to know, as Hugging Face's `config.json` has it: a Mixtral's, or that of another type
/// (`ModelType`). A value of this type is valid: a model can be made from it.
public struct MixtralConfiguration: Sendable, Equatable {
    /// What its files are called, and which parts it has.
    public let modelType: ModelType
    /// V
    public let vocabularySize: Int
    /// D
    public let hiddenSize: Int
    /// With experts or without.
    public let layers: Int
    /// Those of them that have experts, ascending; the others have a dense network. Placements, loads and metrics count these
    /// alone, from 0.
    public let sparseLayers: [Int]
    /// Of dense layers; nil when the type has none.
    public let denseWidth: Int?
    /// F of each expert.
    public let widths: ExpertWidths
    /// Of the expert that all tokens share; nil: there is none.
    public let sharedExpertWidth: Int?
    /// H
    public let heads: Int
    /// KV, a divisor of H.
    public let keyValueHeads: Int
    /// d, even.
    public let headDimension: Int
    /// Whether attention's projections have biases: those of `projectionBiases`.
    public let hasAttentionBiases: Bool
    /// Whether the head's weights are the embedding's.
    public let tiesEmbeddings: Bool
    /// E of each layer that has experts.
    public let experts: Int
    /// How routers choose experts, K among it.
    public let routing: RoutingPolicy
    /// Tokens a sequence at most.
    public let maximumPositions: Int
    public let rmsNormEpsilon: Double
    /// Base of the rotary frequencies.
    public let ropeTheta: Double
    /// Standard deviation of initial weights.
    public let initializerRange: Double
    /// Coefficient of the load-balancing loss, `router_aux_loss_coef`.
    public let routerAuxiliaryLossCoefficient: Double
    /// Whether training adds the load-balancing loss, `output_router_logits`. In a file that does not say, which transformers
    /// never writes, a coefficient means that it is wanted.
    public let outputsRouterLogits: Bool
    /// Token that begins a text; nil when the file names none.
    public let beginToken: Int?
    /// Tokens that end a text.
    public let endTokens: [Int]
    /// Token whose embedding is not trained.
    public let paddingToken: Int?

    /// - Parameters:
    ///   - intermediateSize: F of all experts, unless `widths` is given.
    ///   - denseLayers: those without experts, each below `layers`.
    ///   - denseWidth: of dense layers; nil: that of the widest expert.
    ///   - routing: but for K, which is `expertsPerToken`; nil: the type's.
    /// - Throws: `MixtralConfigurationError` that names the field as in `config.json`.
    public init(
        modelType: ModelType = .mixtral, vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, layers: Int,
        heads: Int, keyValueHeads: Int? = nil, headDimension: Int? = nil, hasAttentionBiases: Bool = false,
        experts: Int, expertsPerToken: Int = 2, widths: ExpertWidths? = nil, denseLayers: Set<Int> = [],
        denseWidth: Int? = nil, sharedExpertWidth: Int? = nil, tiesEmbeddings: Bool = false,
        maximumPositions: Int = 4096, rmsNormEpsilon: Double = 1e-5, ropeTheta: Double = 1e6,
        initializerRange: Double = 0.02, routerAuxiliaryLossCoefficient: Double = 0,
        outputsRouterLogits: Bool = true, routing: RoutingPolicy? = nil, beginToken: Int? = nil,
        endTokens: [Int] = [], paddingToken: Int? = nil
    ) throws(MixtralConfigurationError) {
        self.modelType = modelType
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.layers = layers
        // No list that is longer than what `validate` allows.
        sparseLayers =
            MixtralLimits.layers >= layers && layers > 0 ? (0..<layers).filter { !denseLayers.contains($0) } : []
        let widths = (widths ?? .uniform(intermediateSize)).simplified
        self.widths = widths
        self.denseWidth = modelType.traits.hasDenseWidth ? denseWidth ?? widths.distinct.max() : nil
        self.sharedExpertWidth = sharedExpertWidth
        self.hasAttentionBiases = hasAttentionBiases
        self.tiesEmbeddings = tiesEmbeddings
        self.heads = heads
        self.keyValueHeads = keyValueHeads ?? heads
        self.headDimension = headDimension ?? (heads > 0 ? hiddenSize / heads : 0)
        self.experts = experts
        var routing = routing ?? modelType.traits.routing
        routing.expertsPerToken = expertsPerToken
        self.routing = routing
        self.maximumPositions = maximumPositions
        self.rmsNormEpsilon = rmsNormEpsilon
        self.ropeTheta = ropeTheta
        self.initializerRange = initializerRange
        self.routerAuxiliaryLossCoefficient = routerAuxiliaryLossCoefficient
        self.outputsRouterLogits = outputsRouterLogits
        self.beginToken = beginToken
        self.endTokens = endTokens
        self.paddingToken = paddingToken
        try validate(headDimensionIsGiven: headDimension != nil, denseLayers: denseLayers)
    }

    /// K
    public var expertsPerToken: Int { routing.expertsPerToken }

    /// F of each expert, [layer][expert], of the layers that have experts.
    public var expertWidths: [[Int]] {
        sparseLayers.indices.map { layer in (0..<experts).map { widths[layer: layer, expert: $0] } }
    }

    /// Which of attention's projections have biases.
    public var projectionBiases: ProjectionBiases { hasAttentionBiases ? modelType.traits.biases : .none }

    /// What queries and keys are normalised with; nil: they are not.
    public var queryKeyNorm: QueryKeyNorm? {
        modelType.traits.norm.map { QueryKeyNorm(scope: $0, epsilon: Float(rmsNormEpsilon)) }
    }

    /// What training multiplies the load-balancing loss with: as in Hugging Face's `MixtralForCausalLM`, the coefficient when
    /// the router's logits are put out, else 0.
    public var auxiliaryLossCoefficient: Double { outputsRouterLogits ? routerAuxiliaryLossCoefficient : 0 }

    /// Reads a `config.json`.
    /// - Throws: `MixtralConfigurationError` that names the file and the field.
    public init(file: String) throws(MixtralConfigurationError) {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            throw MixtralConfigurationError.unreadable(reason: Self.text(of: error)).inFile(file)
        }
        do {
            try self.init(json: data)
        } catch {
            throw error.inFile(file)
        }
    }

    private static func text(of error: any Error) -> String {
        (error as NSError).localizedDescription
    }
}
