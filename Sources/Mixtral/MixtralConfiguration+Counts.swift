import Layers

/// Numbers of weights.
extension MixtralConfiguration {
    /// Of the whole model.
    public var parameterCount: Int {
        let dense = (0..<layers).reduce(0) { $0 + denseParameterCount(ofLayer: $1) }
        return dense + expertParameterCount + hiddenSize + (tiesEmbeddings ? 1 : 2) * vocabularySize * hiddenSize
    }

    /// Of the experts that routers choose.
    public var expertParameterCount: Int {
        let neurons =
            switch widths {
            case .uniform(let width): sparseLayers.count * experts * width
            case .perLayer(let widths): widths.reduce(0) { $0 + experts * $1 }
            case .perExpert(let widths): widths.joined().reduce(0, +)
            }
        return 3 * hiddenSize * neurons
    }

    /// Of a layer, counted with the dense ones, without the experts that its router chooses: attention, two norms, and either router,
    /// shared expert and its gate, or the dense network.
    public func denseParameterCount(ofLayer layer: Int) -> Int {
        let routing = sparseLayers.contains(layer) ? experts + (hasSharedGate ? 1 : 0) : 0
        return attentionParameterCount + (2 + 3 * networkWidth(ofLayer: layer) + routing) * hiddenSize
    }

    /// Neurons of a layer's network that all tokens go through, dense or shared.
    public func networkWidth(ofLayer layer: Int) -> Int {
        (sparseLayers.contains(layer) ? sharedExpertWidth : denseWidth) ?? 0
    }

    /// Whether the shared expert has a gate.
    public var hasSharedGate: Bool {
        if case .gated = modelType.traits.sharing { sharedExpertWidth != nil } else { false }
    }

    private var attentionParameterCount: Int {
        let (queries, keys) = (heads * headDimension, keyValueHeads * headDimension)
        let biases =
            switch projectionBiases {
            case .none: 0
            case .inputs: queries + 2 * keys
            case .all: queries + 2 * keys + hiddenSize
            }
        let norms =
            switch queryKeyNorm?.scope {
            case nil: 0
            case .head: 2 * headDimension
            case .allHeads: queries + keys
            }
        return (2 * queries + 2 * keys) * hiddenSize + biases + norms
    }
}
