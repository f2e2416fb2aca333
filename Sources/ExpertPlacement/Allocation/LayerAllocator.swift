/// A policy written layer by layer, as veScale's are; `LayerwiseAllocator` makes an `ExpertsAllocator` of it.
public protocol LayerAllocator: Sendable {
    /// Decides where the experts of one layer go.
    /// - Throws: `PlacementError` when the policy cannot place them.
    mutating func allocateLayer(_ request: LayerRequest) throws(PlacementError) -> LayerPlacement
}

/// What a layer's policy decides from.
public struct LayerRequest: Hashable, Sendable {
    public let layer: Int
    /// The layer's placement in force; nil before the first.
    public let current: LayerPlacement?
    public let model: ExpertModel
    public let cluster: Cluster
    /// Rows a step that each expert is expected to get, and their standard deviations, E entries.
    public let loads: [Double]
    public let deviations: [Double]
    public let step: Int

    /// F of each expert.
    public var widths: [Int] { model.layers[layer] }
}

/// Asks a layer's policy about every layer and puts the answers together.
public struct LayerwiseAllocator<Policy: LayerAllocator>: ExpertsAllocator {
    public var policy: Policy
    public private(set) var forecast: LoadForecast

    public init(_ policy: Policy, forecast: LoadForecast = LoadForecast()) {
        self.policy = policy
        self.forecast = forecast
    }

    public var loadForecast: LoadForecast? { forecast }

    public mutating func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        forecast.record(sample)
    }

    public mutating func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        guard cluster.worldSize > 0 else { throw .unsuitableAllocator("a cluster without ranks can hold no expert") }
        // Before anything is measured all experts count alike; then a plan in force is as good as another.
        let measured = forecast.fits(model)
        if current != nil, !measured { return nil }
        let loads = measured ? forecast.loads : model.layers.map { $0.map { _ in 1 } }
        let deviations = measured ? forecast.deviations : model.layers.map { $0.map { _ in 0 } }
        var layers = [LayerPlacement]()
        var ranks = 0
        for layer in model.layers.indices {
            let placement = try policy.allocateLayer(
                LayerRequest(
                    layer: layer, current: current?.layers[layer], model: model, cluster: cluster, loads: loads[layer],
                    deviations: deviations[layer], step: step))
            ranks += placement.listedRanks
            guard ranks <= PlacementPlan.rankLimit else {
                throw .tooManyRanks(
                    "the experts of \(layer + 1) layers are on \(ranks) ranks, over the limit of \(PlacementPlan.rankLimit) of one plan; "
                        + "place each on fewer, such as with the option slots")
            }
            layers.append(placement)
        }
        let plan = try PlacementPlan(worldSize: cluster.worldSize, nodes: cluster.nodes, layers: layers)
        return current?.layers.map(\.experts) == plan.layers.map(\.experts) ? nil : plan
    }
}
