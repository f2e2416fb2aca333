import ExpertPlacement
import Layers
import Logging
import MessagePassing

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
/// - Returns: the plan in force. Groups that are parallelised already stay as they are, with a warning: parallelising twice
///   changes nothing.
/// - Throws: `ParallelizationError` when patterns or counts do not fit the model, `PlacementError` when the plan does not.
@discardableResult
public func parallelizeExperts(
    in model: any Module, matching patterns: [String], allocator: any ExpertsAllocator,
    dispatcher: any TokenDispatcher, configuration: ParallelConfiguration
) throws -> PlacementPlan {
    let matches = try expertGroups(in: model, matching: patterns)
    try check(matches, configuration)

    let context = configuration.context
    let parallel = matches.filter { $0.group is ParallelExperts }
    if !parallel.isEmpty, context.communicator.rank == 0 {
        let paths = parallel.map(\.path).joined(separator: ", ")
        configuration.logger.warning("these experts are parallelised already and stay as they are: \(paths)")
    }
    if parallel.count == matches.count {
        return try planInForce(parallel.compactMap { $0.group as? ParallelExperts }, configuration)
    }

    let plan = try plan(for: matches, allocator: allocator, configuration: configuration)
    for (layer, match) in matches.enumerated() where !(match.group is ParallelExperts) {
        let experts = ParallelExperts(
            layer: layer, placement: plan.layers[layer], planRevision: plan.revision,
            hiddenSize: match.group.hiddenSize, names: match.group.names, dispatcher: dispatcher, context: context)
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

/// The plan for groups of which some may be parallelised already and keep their places.
private func plan(
    for matches: [ExpertGroupMatch], allocator: any ExpertsAllocator, configuration: ParallelConfiguration
) throws -> PlacementPlan {
    let context = configuration.context
    let model = ExpertModel(hiddenSize: matches[0].group.hiddenSize, layers: matches.map(\.group.widths))
    let cluster = configuration.nodes.map(Cluster.init) ?? Cluster(worldSize: context.communicator.size)
    var allocator = allocator
    guard
        let plan = try configuration.plan
            ?? allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
    else { throw ParallelizationError.noPlan }
    try plan.validate(for: model, worldSize: context.communicator.size)

    var layers = plan.layers
    for (layer, match) in matches.enumerated() {
        guard let group = match.group as? ParallelExperts else { continue }
        guard group.context === context else { throw ParallelizationError.otherContext(path: match.path) }
        guard configuration.plan == nil || group.placement.experts == layers[layer].experts else {
            throw ParallelizationError.placedOtherwise(path: match.path)
        }
        layers[layer] = group.placement
    }
    return try PlacementPlan(
        revision: plan.revision, worldSize: plan.worldSize, nodes: plan.nodes, layers: layers)
}

/// The plan of groups that are all parallelised.
private func planInForce(_ groups: [ParallelExperts], _ configuration: ParallelConfiguration) throws -> PlacementPlan {
    let revisions = Set(groups.map(\.planRevision))
    return try PlacementPlan(
        revision: revisions.count == 1 ? groups[0].planRevision : 0,
        worldSize: configuration.context.communicator.size, nodes: configuration.nodes,
        layers: groups.map(\.placement))
}
