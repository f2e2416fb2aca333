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
    private var replicaRanks: ReplicaRanks
    private var chunks: ExpertChunks
    /// What this rank holds of each expert; nil: nothing.
    var shards: [ExpertShard?]

    private struct Saved {
        let routingCount: Int
        let chunks: [Chunk]
    }
    /// What backward needs of a chunk.
    private struct Chunk {
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
        replicaRanks = ReplicaRanks(placement)
        chunks = Self.chunks(placement, context)
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
        chunks = Self.chunks(placement, context)
    }

    /// With more chunks less of an exchange is left that nothing hides, and messages are smaller.
    private static let mostChunks = 4

    private static func chunks(_ placement: LayerPlacement, _ context: ExpertParallelContext) -> ExpertChunks {
        ExpertChunks(
            placement, worldSize: context.communicator.size,
            limit: context.overlap.contains(.dispatch) && context.communicator.size > 1 ? mostChunks : 1)
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
        let exchanges = try context.timer.measure(.dispatch) {
            try layouts(routing).map { RowExchange(layout: $0, context: context) }
        }
        var chunks = [(results: Tensor, activations: [ExpertShard.Activations?])]()
        let transfers = try pipeline(
            exchanges, dispatch: { try exchanges[$0].dispatch(x) },
            compute: { index, arrived in
                let results = Tensor(rows: arrived.rows, columns: hiddenSize)
                let activations = try zip(shards, exchanges[index].layout.expertRows).map {
                    shard, rows -> ExpertShard.Activations? in
                    guard let shard, !rows.isEmpty else { return nil }
                    if savingForBackward {
                        work.rows += rows.count
                        work.neuronRows += rows.count * shard.neurons.count
                    }
                    return try shard.forward(
                        arrived.rows(rows), into: results.rows(rows), savingForBackward: savingForBackward,
                        betweenProducts: context.letMessagesGoOn)
                }
                chunks.append((results, activations))
                return results
            })

        return try context.timer.measure(.combine) {
            let y = Tensor(rows: x.rows, columns: hiddenSize, repeating: 0)
            let returned = try add(
                zip(exchanges, chunks).map { ($0, $1.results) }, transfers, weighted: true, into: y)
            let kept = chunks.indices.map {
                Chunk(
                    exchange: exchanges[$0], results: chunks[$0].results, returned: returned[$0],
                    activations: chunks[$0].activations)
            }
            saved = savingForBackward ? Saved(routingCount: routing.count, chunks: kept) : nil
            return y
        }
    }

    public func backward(_ outputGradient: Tensor) throws -> (inputGradient: Tensor, weightGradient: [Float]) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil

        // dL/dweight of a row is the product of dy with the expert's output: the sum over its partial sums.
        var products = [(leaving: [Float], staying: [[Float]])](repeating: ([], []), count: saved.chunks.count)
        let transfers = try pipeline(
            saved.chunks.map(\.exchange),
            dispatch: { index in
                let chunk = saved.chunks[index]
                return try chunk.exchange.dispatch(outputGradient) { list, rows, places in
                    if let places {
                        products[index].staying.append(Rows.dots(rows, chunk.results.rows(places)))
                    } else {
                        products[index].leaving = Rows.dots(rows, chunk.returned)
                    }
                    Rows.scale(rows, by: list.weights, into: rows)
                }
            },
            compute: { index, arrived in
                let chunk = saved.chunks[index]
                let results = chunk.results  // Needed no more: its memory takes the gradients.
                for (expert, rows) in chunk.exchange.layout.expertRows.enumerated() {
                    guard let shard = shards[expert], let activations = chunk.activations[expert] else { continue }
                    try shard.backward(
                        arrived.rows(rows), activations, into: results.rows(rows),
                        betweenProducts: context.letMessagesGoOn)
                }
                return results
            })

        return try context.timer.measure(.combine) {
            let inputGradient = Tensor(rows: outputGradient.rows, columns: hiddenSize, repeating: 0)
            _ = try add(
                saved.chunks.map { ($0.exchange, $0.results) }, transfers, weighted: false, into: inputGradient)
            let weightGradient = sum(products, of: saved.chunks.map(\.exchange.layout), count: saved.routingCount)
            return (inputGradient, weightGradient)
        }
    }

    /// Adds what experts gave for this rank's rows to their tokens, in an order that does not depend on the chunks: rows that stayed, by
    /// expert, while the others are under way, then those of each rank, by expert.
    /// - Returns: the rows that returned, of each chunk.
    private func add(
        _ chunks: [(exchange: RowExchange, results: Tensor)], _ transfers: [RowExchange.Transfer], weighted: Bool,
        into y: Tensor
    ) throws -> [Tensor] {
        for chunk in chunks {
            try context.letMessagesGoOn()
            chunk.exchange.addStaying(chunk.results, weighted: weighted, into: y)
        }
        let returned = try transfers.map { try $0.wait() }
        for rank in context.communicator.otherRanks {
            for (chunk, rows) in zip(chunks, returned) {
                chunk.exchange.addReturned(rows, from: rank, weighted: weighted, into: y)
            }
        }
        return returned
    }

    /// Adds up what each list of rows has for them, in such an order: those of each rank, then those that stayed.
    /// - Parameter count: of routing rows.
    private func sum(
        _ products: [(leaving: [Float], staying: [[Float]])], of layouts: [DispatchLayout], count: Int
    ) -> [Float] {
        var sums = [Float](repeating: 0, count: count)
        for rank in context.communicator.otherRanks {
            for (products, layout) in zip(products, layouts) {
                for index in layout.leaving(to: rank) {
                    sums[Int(layout.leaving.rows[index])] += products.leaving[index]
                }
            }
        }
        for (products, layout) in zip(products, layouts) {
            for (products, stay) in zip(products.staying, layout.staying) {
                for (row, product) in zip(stay.list.rows, products) { sums[Int(row)] += product }
            }
        }
        return sums
    }

    /// Brings rows to the experts and results back, chunk by chunk: while one is computed, the next one's rows arrive, and the results of
    /// those before leave.
    /// - Parameters:
    ///   - dispatch: begins a chunk's way to the experts.
    ///   - compute: gets a chunk's rows and returns the results, which nobody changes any more.
    /// - Returns: the results on their way back.
    private func pipeline(
        _ exchanges: [RowExchange], dispatch: (Int) throws -> RowExchange.Transfer,
        compute: (Int, Tensor) throws -> Tensor
    ) throws -> [RowExchange.Transfer] {
        let timer = context.timer
        var arriving = try timer.measure(.dispatch) { try dispatch(0) }
        return try exchanges.indices.map { index in
            let arrived = try timer.measure(.dispatch) {
                let current = arriving
                if index + 1 < exchanges.count { arriving = try dispatch(index + 1) }
                return try current.wait()
            }
            let results = try timer.measure(.experts) { try compute(index, arrived) }
            return try timer.measure(.combine) { try exchanges[index].combine(results) }
        }
    }

    /// Picks replicas, and tells the other ranks what comes.
    private func layouts(_ routing: Routing) throws -> [DispatchLayout] {
        let communicator = context.communicator
        let origin = DispatchOrigin(
            rank: communicator.rank, step: context.step, layer: layer, firstToken: context.firstToken)
        return try DispatchLayout.chunks(
            routing: routing, replicas: dispatcher.assignTask(routing, placement: placement, origin: origin),
            ranks: replicaRanks, chunks: chunks, destinations: communicator.otherRanks + [communicator.rank],
            leastRows: routing.paddedRows == 0 ? [] : shards.map { $0 == nil ? 0 : routing.paddedRows },
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
