import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// The experts of one layer, spread over ranks as a placement says.
public final class ParallelExperts: ExpertGroup {
    public let expertCount: Int
    public let widths: [Int]
    public let hiddenSize: Int
    /// Index among the model's layers of experts.
    public let layer: Int
    /// Where the experts are. `MoEOptimizer.apply` changes it.
    public private(set) var placement: LayerPlacement
    /// Revision of the plan that says so; 0 when it has none.
    public private(set) var planRevision: Int

    let context: ExpertParallelContext
    private var dispatcher: any TokenDispatcher
    private var replicaRanks: ReplicaRanks
    /// What this rank holds of each expert; nil: nothing.
    var shards: [ExpertShard?]

    private struct Saved {
        let routingCount: Int
        let exchange: RowExchange
        /// Outputs before they are weighted: of this rank's experts by place, and from other ranks.
        let results: Tensor
        let returned: Tensor
        let activations: [ExpertShard.Activations?]
    }
    private var saved: Saved?

    /// What this rank computed in passes that saved for backward.
    public struct Work: Hashable, Sendable {
        /// Rows of all its shards.
        public var rows = 0
        /// Each of them times the neurons of its shard.
        public var neuronRows = 0
    }
    private var work = Work()

    init(
        layer: Int, placement: LayerPlacement, planRevision: Int, hiddenSize: Int, dispatcher: any TokenDispatcher,
        context: ExpertParallelContext
    ) {
        self.layer = layer
        self.placement = placement
        self.planRevision = planRevision
        self.hiddenSize = hiddenSize
        self.dispatcher = dispatcher
        self.context = context
        expertCount = placement.experts.count
        widths = placement.experts.map(\.width)
        replicaRanks = ReplicaRanks(placement)
        let rank = context.communicator.rank
        shards = placement.experts.map { expert in
            expert.residentNeurons(of: rank).map { ExpertShard(neurons: $0, hiddenSize: hiddenSize) }
        }
    }

    /// Goes by another placement from now on, whose shards are in their places. A forward pass before has no backward pass
    /// any more: its step was skipped.
    func adopt(_ placement: LayerPlacement, planRevision: Int) {
        saved = nil
        self.placement = placement
        self.planRevision = planRevision
        replicaRanks = ReplicaRanks(placement)
    }

    /// Hands a sample to this layer's dispatcher.
    public func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        dispatcher.collectPerformance(sample, rank: rank)
    }

    /// Returns what was computed since the last call, and starts again at zero.
    public func takeWork() -> Work {
        defer { work = Work() }
        return work
    }

    /// Sets all gradients to zero.
    public func zeroGradients() {
        for case let shard? in shards { shard.clearGradient() }
    }

    public func forward(_ x: Tensor, routing: Routing, savingForBackward: Bool) throws -> Tensor {
        precondition(
            routing.tokenCount == x.rows && routing.expertCount == expertCount,
            "the routing is of other tokens or experts")
        let (exchange, arrived) = try context.timer.measure(.dispatch) {
            let exchange = RowExchange(layout: try layout(routing), context: context)
            return (exchange, try exchange.dispatch(x))
        }

        let results = Tensor(rows: arrived.rows, columns: hiddenSize)
        let activations = context.timer.measure(.experts) {
            zip(shards, exchange.layout.expertRows).map { shard, rows -> ExpertShard.Activations? in
                guard let shard, !rows.isEmpty else { return nil }
                if savingForBackward {
                    work.rows += rows.count
                    work.neuronRows += rows.count * shard.neurons.count
                }
                return shard.forward(
                    arrived.rows(rows), into: results.rows(rows), savingForBackward: savingForBackward)
            }
        }

        return try context.timer.measure(.combine) {
            let returned = try exchange.combine(results)
            let y = Tensor(rows: x.rows, columns: hiddenSize, repeating: 0)
            exchange.add(results, returned, weighted: true, into: y)
            saved =
                savingForBackward
                ? Saved(
                    routingCount: routing.count, exchange: exchange, results: results, returned: returned,
                    activations: activations) : nil
            return y
        }
    }

    public func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float]) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let exchange = saved.exchange

        var weightGradient = [Float](repeating: 0, count: saved.routingCount)
        let arrived = try context.timer.measure(.dispatch) {
            try exchange.dispatch(outputGradient) { list, rows, places in
                // dL/dweight of a row is the product of dy with the expert's output: the sum over its partial sums.
                let outputs = places.map { saved.results.rows($0) } ?? saved.returned
                for (row, product) in zip(list.rows, Rows.dots(rows, outputs)) { weightGradient[Int(row)] += product }
                Rows.scale(rows, by: list.weights, into: rows)
            }
        }

        let results = saved.results  // Needed no more: its memory takes the gradients.
        context.timer.measure(.experts) {
            for (expert, rows) in exchange.layout.expertRows.enumerated() {
                guard let shard = shards[expert], let activations = saved.activations[expert] else { continue }
                shard.backward(arrived.rows(rows), activations, into: results.rows(rows))
            }
        }

        return try context.timer.measure(.combine) {
            let returned = try exchange.combine(results)
            let inputGradient = Tensor(rows: outputGradient.rows, columns: hiddenSize, repeating: 0)
            exchange.add(results, returned, weighted: false, into: inputGradient)
            return (inputGradient, weightGradient)
        }
    }

    /// Picks replicas, and tells the other ranks what comes.
    private func layout(_ routing: Routing) throws -> DispatchLayout {
        let communicator = context.communicator
        let origin = DispatchOrigin(
            rank: communicator.rank, step: context.step, layer: layer, firstToken: context.firstToken)
        return try DispatchLayout(
            routing: routing, replicas: dispatcher.assignTask(routing, placement: placement, origin: origin),
            ranks: replicaRanks, rank: communicator.rank, worldSize: communicator.size,
            exchangeCounts: exchangeCounts)
    }

    /// Tells each rank how many rows it gets for each expert.
    private func exchangeCounts(_ counts: [Int32]) throws -> [Int32] {
        let communicator = context.communicator
        guard communicator.size > 1 else { return counts }
        let blocks = [Int](repeating: expertCount, count: communicator.size)
        var received = [Int32](repeating: 0, count: counts.count)
        var target = received.mutableSpan
        try communicator.allToAll(counts.span, sendCounts: blocks, into: &target, receiveCounts: blocks)
        context.countSent((communicator.size - 1) * expertCount, of: Int32.self)
        return received
    }
}
