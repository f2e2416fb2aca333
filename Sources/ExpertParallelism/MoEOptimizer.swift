import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over a model whose experts are spread over ranks.
///
/// An `OwnershipPolicy` says which ranks own the state of an expert's neurons: those that compute with it (veScale's
/// `MoEOptimizer`, volcengine/veScale pull request 59), or all ranks. The state of dense parameters is cut evenly over all
/// ranks. Every parameter is owned by exactly one rank, where it counts once in the global gradient norm.
///
/// All methods but `zeroGradients` and those that look for numbers that are not finite are collective.
public final class MoEOptimizer {
    let dense: DenseState
    let experts: [ExpertState]
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
        dense = DenseState(model.namedParameters(), context: context)
        experts = model.namedModules().compactMap { path, module in
            (module as? ParallelExperts).map { ExpertState(path: path, experts: $0, ownership: ownership) }
        }
    }

    /// Sets all gradients to zero, before the first micro-batch of a step.
    public func zeroGradients() {
        dense.zeroGradients()
        for layer in experts { layer.zeroGradients() }
    }

    /// Sums the gradients of all ranks at their owners, after the last micro-batch of a step.
    /// - Returns: the global gradient norm (Euclidean), the same on all ranks; not finite when any gradient is not.
    public func reduceGradients() throws -> Double {
        try context.timer.measure(.gradients) {
            var squares = [try dense.reduceGradients()]
            for layer in experts { squares[0] += try layer.reduceGradients() }
            var span = squares.mutableSpan
            try context.communicator.allReduce(&span, .sum)
            return squares[0].squareRoot()
        }
    }

    /// Updates all weights from the summed gradients and brings them to every rank that holds them.
    /// - Parameters:
    ///   - configuration: decay applies to matrices only.
    ///   - gradientScale: a factor for all gradients, from clipping.
    public func step(_ configuration: AdamW.Configuration, gradientScale: Float = 1) throws {
        try context.timer.measure(.optimizer) {
            updates += 1
            try dense.step(updates, configuration: configuration, gradientScale: gradientScale)
            for layer in experts {
                try layer.step(updates, configuration: configuration, gradientScale: gradientScale)
            }
        }
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
        dense.nonFiniteGradients() + experts.flatMap { $0.nonFiniteGradients() }
    }

    /// Path of a parameter or expert that has a weight on this rank that is not finite; nil when all are.
    public func firstNonFiniteWeight() -> String? {
        dense.firstNonFiniteWeight() ?? experts.lazy.compactMap { $0.firstNonFiniteWeight() }.first
    }

    /// Hands the summed gradients to the sinks: dense ones on all ranks, those of experts on rank 0. For tests.
    package func storeGradients(to sink: any WeightSink) throws {
        try dense.storeGradients(to: sink)
        for layer in experts { try layer.storeGradients(to: sink) }
    }
}
