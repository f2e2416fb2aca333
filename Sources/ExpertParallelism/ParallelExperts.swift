import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// The experts of one layer, spread over ranks as a placement says.
public final class ParallelExperts: ExpertGroup {
    public let expertCount: Int
    public let widths: [Int]
    public let hiddenSize: Int
    public let names: ExpertNames
    /// Index among the model's layers of experts.
    public let layer: Int
    /// Where the experts are. `MoEOptimizer.apply` changes it.
    public private(set) var placement: LayerPlacement
    /// Revision of the plan that says so; 0 when it has none.
    public private(set) var planRevision: Int

    let context: ExpertParallelContext
    private var dispatcher: any TokenDispatcher
    private var placedShards: PlacedShards
    /// What this rank holds of each expert; nil: nothing.
    var shards: [ExpertShard?]

    private struct Saved {
        let routingCount: Int
        let layout: DispatchLayout
        var chunks: [Chunk]
    }
    /// What backward needs of a chunk: outputs of this rank's experts before they are weighted, by place, and what they computed.
    private struct Chunk {
        let results: Tensor
        var activations: [ExpertShard.Activations?]
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
        layer: Int, placement: LayerPlacement, planRevision: Int, hiddenSize: Int, names: ExpertNames,
        dispatcher: any TokenDispatcher, context: ExpertParallelContext
    ) {
        self.layer = layer
        self.placement = placement
        self.planRevision = planRevision
        self.hiddenSize = hiddenSize
        self.names = names
        self.dispatcher = dispatcher
        self.context = context
        expertCount = placement.experts.count
        widths = placement.experts.map(\.width)
        placedShards = Self.placedShards(placement, context)
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
        placedShards = Self.placedShards(placement, context)
    }

    private static func placedShards(_ placement: LayerPlacement, _ context: ExpertParallelContext) -> PlacedShards {
        let (size, overlaps) = (context.communicator.size, context.overlap.contains(.dispatch))
        return PlacedShards(
            placement, worldSize: size, mostChunks: overlaps && size > 1 ? PlacedShards.mostChunks : 1)
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
        let layout = try context.timer.measure(.dispatch) { try makeLayout(routing) }
        var chunks = [Chunk]()
        let y = try pipeline(layout, x, weighted: true) { index, arrived in
            let results = Tensor(rows: arrived.rows, columns: hiddenSize)
            let parts = zip(shards, layout.chunks[index].places.expertRows)
            let activations = try parts.map { shard, rows -> ExpertShard.Activations? in
                guard let shard, !rows.isEmpty else { return nil }
                if savingForBackward {
                    work.rows += rows.count
                    work.neuronRows += rows.count * shard.neurons.count
                }
                return try shard.forward(
                    arrived.rows(rows), into: results.rows(rows), savingForBackward: savingForBackward,
                    betweenProducts: context.letMessagesGoOn)
            }
            chunks.append(Chunk(results: results, activations: activations))
            return results
        }
        saved = savingForBackward ? Saved(routingCount: routing.count, layout: layout, chunks: chunks) : nil
        return y
    }

    public func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float]) {
        guard var saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil

        let layout = saved.layout
        // dL/dweight of a pair is the product of dy with the expert's output: the sum over its partial sums.
        let products = Tensor(rows: layout.arrivingPairs.last?.upperBound ?? 0, columns: 1)
        var weightProducts: PairNumbers?
        func prepare(_ index: Int, _ arrived: Tensor) throws {
            let places = layout.chunks[index].places
            var values = products.mutableSpan
            for (pair, product) in zip(places.pairs, Rows.dots(arrived, saved.chunks[index].results)) where pair >= 0 {
                values[Int(pair)] = product
            }
            if index == layout.chunks.count - 1 {
                weightProducts = try PairNumbers(products, layout, context: context)
            }
            for run in places.runs {
                let rows = arrived.rows(run.places)
                Rows.scale(rows, by: run.weights, into: rows)
            }
        }
        let inputGradient = try pipeline(layout, outputGradient, weighted: false, prepare: prepare) { index, arrived in
            let results = saved.chunks[index].results  // Needed no more: their memory takes the gradients.
            for (expert, rows) in layout.chunks[index].places.expertRows.enumerated() {
                guard let shard = shards[expert], let activations = saved.chunks[index].activations[expert] else {
                    continue
                }
                try shard.backward(
                    arrived.rows(rows), activations, into: results.rows(rows), betweenProducts: context.letMessagesGoOn)
            }
            saved.chunks[index].activations = []
            return results
        }
        guard let weightProducts else { preconditionFailure("a layout without chunks") }
        let weightGradient = try context.timer.measure(.combine) {
            try weightProducts.sum(count: saved.routingCount)
        }
        return (inputGradient, weightGradient)
    }

    /// Brings rows to the experts and results back, chunk by chunk: while one is computed, the next one's rows arrive, and the results of
    /// those before leave.
    /// - Parameters:
    ///   - source: rows of this rank's tokens, (T, D).
    ///   - weighted: whether results are multiplied with their routing weights.
    ///   - prepare: may change a chunk's rows when they have arrived.
    ///   - compute: gets a chunk's rows and returns the results, which nobody changes any more.
    /// - Returns: sums of each token's results, (T, D).
    private func pipeline(
        _ layout: DispatchLayout, _ source: Tensor, weighted: Bool,
        prepare: (Int, Tensor) throws -> Void = { _, _ in }, compute: (Int, Tensor) throws -> Tensor
    ) throws -> Tensor {
        let timer = context.timer
        let exchange = RowExchange(layout, columns: hiddenSize, context: context)
        var arriving = [try timer.measure(.dispatch) { try exchange.dispatch(0, of: source) }]
        let results = try layout.chunks.indices.map { index in
            let arrived = try timer.measure(.dispatch) {
                if index + 1 < layout.chunks.count { arriving.append(try exchange.dispatch(index + 1, of: source)) }
                let arrived = try exchange.finish(arriving.removeFirst())
                try prepare(index, arrived)
                return arrived
            }
            let results = try timer.measure(.experts) { try compute(index, arrived) }
            try timer.measure(.combine) { try exchange.combine(index, results, weighted: weighted) }
            return results
        }
        return try timer.measure(.combine) {
            let y = Tensor(rows: source.rows, columns: source.columns, repeating: 0)
            try exchange.finish(results, weighted: weighted, into: y)
            return y
        }
    }

    /// Picks replicas, and tells the other ranks what comes.
    private func makeLayout(_ routing: Routing) throws -> DispatchLayout {
        let origin = DispatchOrigin(
            rank: context.communicator.rank, step: context.step, layer: layer, firstToken: context.firstToken)
        return try DispatchLayout(
            routing: routing, replicas: dispatcher.assignTask(routing, placement: placement, origin: origin),
            shards: placedShards,
            leastRows: routing.paddedRows == 0 ? [] : shards.map { $0 == nil ? 0 : routing.paddedRows },
            context: context)
    }
}
