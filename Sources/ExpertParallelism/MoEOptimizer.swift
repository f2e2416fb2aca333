import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over a model whose experts are spread over ranks.
///
/// An `OwnershipPolicy` says which ranks own the state of an expert's neurons: those that compute with it (veScale's
/// `MoEOptimizer`, volcengine/veScale pull request 59), or all ranks. The state of dense parameters is cut evenly over the ranks
/// that hold them: all, but for those of a `TensorParallelModule`. Every parameter is owned by exactly one rank, where it counts once in the global gradient norm.
///
/// All methods but `zeroGradients` and those that look for numbers that are not finite are collective.
public final class MoEOptimizer {
    /// For each group of ranks that hold the same dense parameters.
    let dense: [DenseState]
    let experts: [ExpertState]
    /// The layers of experts in each of the model's stages.
    private let expertsOfStages: [[ExpertState]]
    /// Stages whose gradients are under way, the oldest first, and those of them and of those that have arrived in this step.
    private var reducing = [Int]()
    private var reduced = Set<Int>()
    private let context: ExpertParallelContext
    public let ownership: OwnershipPolicy
    /// Updates made so far.
    public internal(set) var updates = 0

    /// Moves the dense parameters of `model` into one buffer. Parallelise before; load weights before the first step.
    public init(
        model: any Module, context: ExpertParallelContext, ownership: OwnershipPolicy = .defaultPolicy
    ) {
        self.context = context
        self.ownership = ownership
        let stages = model.stages
        var stageOfModule = [ObjectIdentifier: Int]()
        for (index, stage) in stages.enumerated() {
            for module in stage.flatMap({ $0.namedModules() }) {
                stageOfModule[ObjectIdentifier(module.module)] = index
            }
        }
        let none = [[DenseParameter]](repeating: [], count: stages.count)
        // All ranks come to the groups in one order.
        var groups: [(holders: any Communicator, parameters: [[DenseParameter]])] = [(context.communicator, none)]
        var (experts, expertsOfStages) = ([ExpertState](), [[ExpertState]](repeating: [], count: stages.count))
        for (path, module) in model.namedModules() {
            // What holds the stages belongs to the first, which is used first and summed last.
            let stage = stageOfModule[ObjectIdentifier(module)] ?? 0
            groups[0].parameters[stage] += module.parameters.map {
                DenseParameter(name: join(path, $0.name), parameter: $0.parameter, shard: nil)
            }
            for shard in (module as? any TensorParallelModule)?.sharded ?? [] {
                let group =
                    groups.firstIndex { $0.holders === shard.holders }
                    ?? {
                        groups.append((shard.holders, none))
                        return groups.count - 1
                    }()
                groups[group].parameters[stage].append(
                    DenseParameter(name: join(path, shard.name), parameter: shard.parameter, shard: shard))
            }
            guard let module = module as? ParallelExperts else { continue }
            let state = ExpertState(path: path, experts: module, ownership: ownership)
            experts.append(state)
            expertsOfStages[stage].append(state)
        }
        dense = groups.map { DenseState($0.parameters, communicator: $0.holders, context: context) }
        self.experts = experts
        self.expertsOfStages = expertsOfStages
    }

    /// Sets all gradients to zero, before the first micro-batch of a step.
    public func zeroGradients() {
        for state in dense { state.zeroGradients() }
        for layer in experts { layer.zeroGradients() }
    }

    /// Begins to sum a stage's gradients at their owners. For when backward of the last micro-batch has done with the stage. No more than
    /// two stages are under way at once, so that what arrives takes no more memory than that. Collective.
    public func startReduction(stage: Int) throws {
        try context.timer.measure(.gradients) {
            while reducing.count > 1 { try finishReduction() }
            for state in dense { try state.startReduction(stage: stage) }
            for layer in expertsOfStages[stage] { try layer.startReduction() }
            reducing.append(stage)
            reduced.insert(stage)
        }
    }

    private func finishReduction() throws {
        let stage = reducing.removeFirst()
        for state in dense { try state.finishReduction(stage: stage) }
        for layer in expertsOfStages[stage] { try layer.finishReduction() }
    }

    /// Sums the gradients of all ranks at their owners, after the last micro-batch of a step.
    /// - Returns: the global gradient norm (Euclidean), the same on all ranks; not finite when any gradient is not.
    public func reduceGradients() throws -> Double {
        try context.timer.measure(.gradients) {
            while !reducing.isEmpty { try finishReduction() }
            for stage in expertsOfStages.indices where !reduced.contains(stage) {
                for state in dense {
                    try state.startReduction(stage: stage)
                    try state.finishReduction(stage: stage)
                }
                for layer in expertsOfStages[stage] { try layer.finishReduction() }
            }
            reduced = []
            var squares = [dense.reduce(0) { $0 + $1.sumOfSquares() }]
            for layer in experts { squares[0] += layer.sumOfSquares() }
            var span = squares.mutableSpan
            try context.communicator.allReduce(&span, .sum)
            return squares[0].squareRoot()
        }
    }

    /// Updates all weights from the summed gradients and brings them to every rank that holds them: before it returns, unless refreshes
    /// overlap. Then `finishRefresh` has to be called before a stage's weights are read.
    /// - Parameters:
    ///   - configuration: decay applies to matrices only.
    ///   - gradientScale: a factor for all gradients, from clipping.
    public func step(_ configuration: AdamW.Configuration, gradientScale: Float = 1) throws {
        try context.timer.measure(.optimizer) {
            updates += 1
            for stage in expertsOfStages.indices {
                for state in dense {
                    try state.step(updates, stage: stage, configuration: configuration, gradientScale: gradientScale)
                }
                for layer in expertsOfStages[stage] {
                    try layer.step(updates, configuration: configuration, gradientScale: gradientScale)
                }
                if !context.overlap.contains(.refresh) { try waitForRefresh(stage: stage) }
            }
        }
    }

    /// Returns when a stage's weights are up to date. Cheap when they are. Collective.
    public func finishRefresh(stage: Int) throws {
        try context.timer.measure(.optimizer) { try waitForRefresh(stage: stage) }
    }

    private func waitForRefresh(stage: Int) throws {
        for state in dense { try state.finishRefresh(stage: stage) }
        for layer in expertsOfStages[stage] { try layer.finishRefresh() }
    }

    /// Returns when all weights are up to date. Collective.
    public func finishRefresh() throws {
        for stage in expertsOfStages.indices { try finishRefresh(stage: stage) }
    }

    /// Where the layers of experts are.
    public var placements: [LayerPlacement] { experts.map(\.experts.placement) }

    /// What it takes to bring the experts from where they are to where `plan` has them.
    /// - Throws: `PlacementError` when the plan does not fit the model or the ranks.
    public func migration(to plan: PlacementPlan) throws -> Migration {
        try validate(plan)
        return try Migration(from: placements, to: plan, ownership: ownership)
    }

    private func validate(_ plan: PlacementPlan) throws {
        let model = ExpertModel(
            hiddenSize: experts.first?.experts.hiddenSize ?? 0, layers: experts.map(\.experts.widths))
        try plan.validate(for: model, worldSize: context.communicator.size)
    }

    /// Moves weights and state to where `plan` has them, between two steps; results stay what they would have been.
    /// - Parameters:
    ///   - plan: the same on all ranks.
    ///   - chunkBytes: the most that a rank sends, and that it receives, in one exchange; `LayerMigration.peakBytes` tells
    ///     the memory that this takes.
    /// - Throws: `PlacementError`, before anything moves, when the plan does not fit the model or the ranks.
    ///   After `MigrationError` the job has to end.
    @discardableResult
    public func apply(
        _ plan: PlacementPlan, chunkBytes: Int = MoEOptimizer.defaultChunkBytes
    ) throws -> MigrationReport {
        try carryOut(migration(to: plan).layers, planRevision: plan.revision, chunkBytes: chunkBytes)
    }

    /// Moves layers from where they are, which is where their migrations begin.
    func carryOut(_ layers: [LayerMigration], planRevision: Int, chunkBytes: Int) throws -> MigrationReport {
        try finishRefresh()
        var report = MigrationReport()
        for layer in layers {
            report += try experts[layer.layer].migrate(layer, planRevision: planRevision, chunkBytes: chunkBytes)
        }
        return report
    }

    /// Returns when all ranks have called it. Collective.
    func waitForAllRanks() throws { try context.communicator.barrier() }

    /// What the memory of plans is worked out with.
    public static let defaultChunkBytes = PlanMemory.defaultChunkBytes

    /// The factor that brings a gradient of the norm `norm` to at most `limit`, as `torch.nn.utils.clip_grad_norm_` has it;
    /// a limit of 0: none.
    public static func clippingScale(norm: Double, limit: Double) -> Float {
        limit > 0 ? Float(min(1, limit / (norm + 1e-6))) : 1
    }

    /// Weights and moments of the experts' neurons that this rank holds, for tests: what it computes with, then what it
    /// owns. `body` gets a layer, an expert, a part, and its neurons' rows, (n, 3·D).
    package func forEachExpertPart(_ body: (Int, Int, StatePart, Range<Int>, Tensor) -> Void) {
        for layer in experts {
            for expert in layer.owned.indices {
                for shard in layer.holdings(expert) {
                    body(layer.experts.layer, expert, .weights, shard.neurons, shard.value)
                }
                guard let state = layer.owned[expert] else { continue }
                body(layer.experts.layer, expert, .firstMoment, state.neurons, state.firstMoment)
                body(layer.experts.layer, expert, .secondMoment, state.neurons, state.secondMoment)
            }
        }
    }

    /// Paths of the parameters and experts whose gradients on this rank are not finite.
    public func nonFiniteGradients() -> [String] {
        dense.flatMap { $0.nonFiniteGradients() } + experts.flatMap { $0.nonFiniteGradients() }
    }

    /// Path of a parameter or expert that has a weight on this rank that is not finite; nil when all are.
    public func firstNonFiniteWeight() -> String? {
        for stage in expertsOfStages.indices {
            if let path = dense.lazy.compactMap({ $0.firstNonFiniteWeight(stage: stage) }).first { return path }
        }
        return experts.lazy.compactMap { $0.firstNonFiniteWeight() }.first
    }

    /// Hands the summed gradients to the sinks: whole ones on all ranks, those of shards and experts on rank 0. For tests.
    package func storeGradients(to sink: any WeightSink) throws {
        for state in dense { try state.storeGradients(to: sink) }
        for layer in experts { try layer.storeGradients(to: sink) }
    }
}
