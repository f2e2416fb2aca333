import Foundation
import Layers

/// The shape of a Mixtral and what its training has to know, as Hugging Face's `config.json` has it
/// (`MixtralConfig` of transformers). A value of this type is valid: a model can be made from it.
public struct MixtralConfiguration: Sendable, Equatable {
    /// V
    public let vocabularySize: Int
    /// D
    public let hiddenSize: Int
    /// F
    public let intermediateSize: Int
    public let layers: Int
    /// H
    public let heads: Int
    /// KV, a divisor of H.
    public let keyValueHeads: Int
    /// d, even.
    public let headDimension: Int
    /// E
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

    /// - Parameter routing: but for K, which is `expertsPerToken`.
    /// - Throws: `MixtralConfigurationError` that names the field as in `config.json`.
    public init(
        vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, layers: Int, heads: Int,
        keyValueHeads: Int? = nil, headDimension: Int? = nil, experts: Int, expertsPerToken: Int = 2,
        maximumPositions: Int = 4096, rmsNormEpsilon: Double = 1e-5, ropeTheta: Double = 1e6,
        initializerRange: Double = 0.02, routerAuxiliaryLossCoefficient: Double = 0,
        outputsRouterLogits: Bool = true, routing: RoutingPolicy = RoutingPolicy(), beginToken: Int? = nil,
        endTokens: [Int] = [], paddingToken: Int? = nil
    ) throws(MixtralConfigurationError) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.intermediateSize = intermediateSize
        self.layers = layers
        self.heads = heads
        self.keyValueHeads = keyValueHeads ?? heads
        self.headDimension = headDimension ?? (heads > 0 ? hiddenSize / heads : 0)
        self.experts = experts
        var routing = routing
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
        try validate(headDimensionIsGiven: headDimension != nil)
    }

    /// K
    public var expertsPerToken: Int { routing.expertsPerToken }

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

    /// Weights of the whole model.
    public var parameterCount: Int {
        layers * (denseLayerParameterCount + experts * 3 * intermediateSize * hiddenSize) + hiddenSize
            + 2 * vocabularySize * hiddenSize
    }

    /// Weights of a layer without its experts: attention, router and two norms.
    public var denseLayerParameterCount: Int {
        (2 * heads + 2 * keyValueHeads) * headDimension * hiddenSize + experts * hiddenSize + 2 * hiddenSize
    }

    private static func text(of error: any Error) -> String {
        (error as NSError).localizedDescription
    }
}
