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
    /// Where the experts are.
    public let placement: LayerPlacement

    let context: ExpertParallelContext
    private var dispatcher: any TokenDispatcher
    /// What this rank holds of each expert; nil: nothing.
    let shards: [ExpertShard?]

    private struct Saved {
        let routing: Routing
        let exchange: RowExchange
        let returned: Tensor
        let activations: [ExpertShard.Activations?]
    }
    private var saved: Saved?

    init(
        layer: Int, placement: LayerPlacement, hiddenSize: Int, dispatcher: any TokenDispatcher,
        context: ExpertParallelContext
    ) {
        self.layer = layer
        self.placement = placement
        self.hiddenSize = hiddenSize
        self.dispatcher = dispatcher
        self.context = context
        expertCount = placement.experts.count
        widths = placement.experts.map(\.width)
        let rank = context.communicator.rank
        shards = placement.experts.map { expert in
            expert.residentNeurons(of: rank).map { ExpertShard(neurons: $0, hiddenSize: hiddenSize) }
        }
    }

    /// Hands a sample to this layer's dispatcher.
    public func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        dispatcher.collectPerformance(sample, rank: rank)
    }

    /// Sets all gradients to zero.
    public func zeroGradients() {
        for case let shard? in shards { shard.gradient.fill(0) }
    }

    public func forward(_ x: Tensor, routing: Routing, savingForBackward: Bool) throws -> Tensor {
        let communicator = context.communicator
        let exchange = try context.timer.measure(.dispatch) {
            let origin = DispatchOrigin(
                rank: communicator.rank, step: context.step, layer: layer, firstToken: context.firstToken)
            let layout = try DispatchLayout(
                routing: routing,
                replicas: dispatcher.assignTask(routing, placement: placement, origin: origin),
                placement: placement, rank: communicator.rank, worldSize: communicator.size,
                exchangeCounts: exchangeCounts)
            return RowExchange(layout: layout, context: context)
        }
        let arrived = try context.timer.measure(.dispatch) { try exchange.dispatch(x) }

        let results = Tensor(rows: arrived.rows, columns: hiddenSize)
        let activations = context.timer.measure(.experts) {
            zip(shards, exchange.layout.expertRows).map { shard, rows -> ExpertShard.Activations? in
                guard let shard, !rows.isEmpty else { return nil }
                return shard.forward(arrived.rows(rows), into: results.rows(rows))
            }
        }

        return try context.timer.measure(.combine) {
            let returned = try exchange.combine(results)
            let y = Tensor(rows: x.rows, columns: hiddenSize, repeating: 0)
            Rows.scatterAdd(
                returned, indices: exchange.layout.sentTokens, scales: weights(routing, exchange.layout), into: y)
            if savingForBackward {
                saved = Saved(routing: routing, exchange: exchange, returned: returned, activations: activations)
            }
            return y
        }
    }

    public func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float]) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let layout = saved.exchange.layout

        let (arrived, weightGradient) = try context.timer.measure(.dispatch) {
            // dL/dweight of a row is the product of dy with the expert's output: the sum over its partial sums.
            var weightGradient = [Float](repeating: 0, count: saved.routing.count)
            let gradients = Tensor(rows: layout.sentCount, columns: hiddenSize)
            Rows.gather(outputGradient, indices: layout.sentTokens, into: gradients)
            for (row, product) in zip(layout.sentRows, Rows.dots(gradients, saved.returned)) {
                weightGradient[Int(row)] += product
            }
            let arrived = try saved.exchange.dispatch(outputGradient, scales: weights(saved.routing, layout))
            return (arrived, weightGradient)
        }

        let results = Tensor(rows: arrived.rows, columns: hiddenSize)
        context.timer.measure(.experts) {
            for (expert, rows) in layout.expertRows.enumerated() {
                guard let shard = shards[expert], let activations = saved.activations[expert] else { continue }
                shard.backward(arrived.rows(rows), activations, into: results.rows(rows))
            }
        }

        return try context.timer.measure(.combine) {
            let returned = try saved.exchange.combine(results)
            let inputGradient = Tensor(rows: outputGradient.rows, columns: hiddenSize, repeating: 0)
            Rows.scatterAdd(returned, indices: layout.sentTokens, scales: nil, into: inputGradient)
            return (inputGradient, weightGradient)
        }
    }

    /// The routing weight of each row that was sent.
    private func weights(_ routing: Routing, _ layout: DispatchLayout) -> [Float] {
        layout.sentRows.map { routing.weights[Int($0)] }
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
