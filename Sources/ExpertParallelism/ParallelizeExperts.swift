import ExpertPlacement
import Layers
import Logging
import MessagePassing
import Tensors

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

    func expertCount(ofLayer layer: Int) -> Int? {
        switch expertsPerLayer {
        case .uniform(let count): count
        case .perLayer(let counts): counts.indices.contains(layer) ? counts[layer] : nil
        }
    }
}

/// Spreads the experts of a model over ranks: replaces each group of experts whose path matches by one that holds what the
/// plan gives this rank, and dispatches tokens to the others. After veScale's `parallelize_experts`.
///
/// Weights that exist are taken over; those that have no memory yet get it only where they are needed, so a model larger
/// than one rank's memory is parallelised first and loaded then.
///
/// - Parameters:
///   - model: any module tree with parts that are `ExpertGroup`s.
///   - patterns: regular expressions over whole module paths, for example
///     `model\.layers\.\d+\.block_sparse_moe\.experts`; layers count in the order of the tree.
///   - allocator: decides on the plan, unless the configuration has one.
///   - dispatcher: each layer gets a copy.
/// - Returns: the plan in force. Parallelising twice warns and changes nothing.
/// - Throws: `ParallelizationError` when patterns or counts do not fit the model, `PlacementError` when the plan does not.
@discardableResult
public func parallelizeExperts(
    in model: any Module, matching patterns: [String], allocator: any ExpertsAllocator,
    dispatcher: any TokenDispatcher, configuration: ParallelConfiguration
) throws -> PlacementPlan {
    let matches = try expertGroups(in: model, matching: patterns)
    try check(matches, configuration)

    let parallel = matches.compactMap { $0.group as? ParallelExperts }
    if parallel.count == matches.count {
        configuration.logger.warning("the experts are parallelised already; nothing was changed")
        return try PlacementPlan(
            worldSize: configuration.context.communicator.size, nodes: configuration.nodes,
            layers: parallel.map(\.placement))
    }

    let description = ExpertModel(hiddenSize: matches[0].group.hiddenSize, layers: matches.map(\.group.widths))
    let cluster = configuration.nodes.map(Cluster.init) ?? Cluster(worldSize: configuration.context.communicator.size)
    var allocator = allocator
    guard
        let plan = try configuration.plan
            ?? allocator.allocateExperts(current: nil, model: description, cluster: cluster, step: 0)
    else { throw ParallelizationError.noPlan }
    try plan.validate(for: description, worldSize: configuration.context.communicator.size)

    for (layer, match) in matches.enumerated() {
        let experts = ParallelExperts(
            layer: layer, placement: plan.layers[layer], hiddenSize: match.group.hiddenSize,
            dispatcher: dispatcher, context: configuration.context)
        if match.group.namedParameters().contains(where: \.parameter.isMaterialized) {
            try experts.loadOwnWeights(from: ModuleWeights(match.group), path: "")
        }
        try match.parent.replaceChild(match.name, with: experts)
    }
    return plan
}

/// As above, for one pattern.
@discardableResult
public func parallelizeExperts(
    in model: any Module, matching pattern: String, allocator: any ExpertsAllocator,
    dispatcher: any TokenDispatcher, configuration: ParallelConfiguration
) throws -> PlacementPlan {
    try parallelizeExperts(
        in: model, matching: [pattern], allocator: allocator, dispatcher: dispatcher, configuration: configuration)
}

/// A group of experts in a module tree.
private struct ExpertGroupMatch {
    let path: String
    let parent: any Module
    let name: String
    let group: any ExpertGroup
}

private func expertGroups(in model: any Module, matching patterns: [String]) throws -> [ExpertGroupMatch] {
    let expressions = try patterns.map { pattern in
        do {
            return try Regex(pattern)
        } catch {
            throw ParallelizationError.invalidPattern(pattern, reason: "\(error)")
        }
    }
    var matches = [ExpertGroupMatch]()
    for (parentPath, parent) in model.namedModules() {
        for (name, module) in parent.children {
            let path = join(parentPath, name)
            guard try expressions.contains(where: { try $0.wholeMatch(in: path) != nil }) else { continue }
            guard let group = module as? any ExpertGroup else {
                throw ParallelizationError.notExperts(path: path, type: "\(type(of: module))")
            }
            matches.append(ExpertGroupMatch(path: path, parent: parent, name: name, group: group))
        }
    }
    guard !matches.isEmpty else {
        let found = model.namedModules().filter { $0.module is any ExpertGroup }.map(\.path)
        throw ParallelizationError.noMatch(patterns: patterns, modules: found)
    }
    return matches
}

private func check(_ matches: [ExpertGroupMatch], _ configuration: ParallelConfiguration) throws {
    guard matches.count == configuration.layers else {
        throw ParallelizationError.layerCount(expected: configuration.layers, found: matches.map(\.path))
    }
    for (layer, match) in matches.enumerated() {
        guard let expected = configuration.expertCount(ofLayer: layer) else {
            throw ParallelizationError.layerCount(expected: configuration.layers, found: matches.map(\.path))
        }
        guard expected == match.group.expertCount else {
            throw ParallelizationError.expertCount(
                path: match.path, expected: expected, found: match.group.expertCount)
        }
        guard match.group.hiddenSize == matches[0].group.hiddenSize else {
            throw ParallelizationError.hiddenSize(
                path: match.path, expected: matches[0].group.hiddenSize, found: match.group.hiddenSize)
        }
    }
}

/// The weights of a module that is in memory, as a source.
private struct ModuleWeights: WeightSource {
    private let parameters: [String: Parameter]

    init(_ module: any Module) {
        parameters = Dictionary(
            module.namedParameters().map { ($0.name, $0.parameter) }, uniquingKeysWith: { first, _ in first })
    }

    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        guard let parameter = parameters[name], parameter.shape == shape else {
            throw ModuleError.missingWeight(name: name, shape: shape)
        }
        destination.copy(from: parameter.value.rows(rows).columns(columns))
    }
}
