import ExpertPlacement
import Logging

/// What `parallelizeExperts` has to know besides the model.
public struct ParallelConfiguration {
    /// Experts a layer: the same number in all, or one number for each.
    public enum ExpertCount: Sendable, Equatable {
        case uniform(Int)
        case perLayer([Int])
    }

    /// Layers that have experts.
    public var layers: Int
    public var expertsPerLayer: ExpertCount
    /// The ranks, this one's step and its timer.
    public var context: ExpertParallelContext
    /// Nodes of the ranks; nil: all on one.
    public var nodes: [Int]?
    /// A plan in force already, from a coordinator; nil: the allocator's first.
    public var plan: PlacementPlan?
    public var logger: Logger

    public init(
        layers: Int, expertsPerLayer: ExpertCount, context: ExpertParallelContext,
        nodes: [Int]? = nil, plan: PlacementPlan? = nil, logger: Logger = Logger(label: "moe.expert-parallelism")
    ) {
        self.layers = layers
        self.expertsPerLayer = expertsPerLayer
        self.context = context
        self.nodes = nodes
        self.plan = plan
        self.logger = logger
    }

    /// E of a layer; there is a number for each when `check` has passed.
    func expertCount(ofLayer layer: Int) -> Int {
        switch expertsPerLayer {
        case .uniform(let count): count
        case .perLayer(let counts): counts[layer]
        }
    }
}
