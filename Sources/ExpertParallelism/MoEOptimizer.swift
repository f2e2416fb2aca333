import Layers
import MessagePassing
import Tensors

/// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over a model whose experts are spread over ranks.
///
/// The state of an expert is co-located with it: each rank of its mesh owns a part of the neurons it holds (veScale's
/// `MoEOptimizer`, volcengine/veScale pull request 59). The state of dense parameters is cut evenly over all ranks. Every
/// parameter is owned by exactly one rank, where it counts once in the global gradient norm.
///
/// All methods but `zeroGradients` and those that look for numbers that are not finite are collective.
public final class MoEOptimizer {
    private let dense: DenseState
    private let experts: [ExpertState]
    private let context: ExpertParallelContext
    /// Updates made so far.
    public private(set) var updates = 0

    /// Moves the dense parameters of `model` into one buffer. Load weights before or after, but parallelise before.
    public init(model: any Module, context: ExpertParallelContext) {
        self.context = context
        dense = DenseState(model.namedParameters(), context: context)
        experts = model.namedModules().compactMap { path, module in
            (module as? ParallelExperts).map { ExpertState(path: path, experts: $0) }
        }
    }

    /// Sets all gradients to zero, before the first micro-batch of a step.
    public func zeroGradients() {
        dense.zeroGradients()
        for layer in experts { layer.experts.zeroGradients() }
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

    /// The factor that brings a gradient of the norm `norm` to at most `limit`, as `torch.nn.utils.clip_grad_norm_` has it;
    /// a limit of 0: none.
    public static func clippingScale(norm: Double, limit: Double) -> Float {
        limit > 0 ? Float(min(1, limit / (norm + 1e-6))) : 1
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
        for layer in experts { try layer.experts.storeOwnGradients(to: sink, path: layer.path) }
    }
}
