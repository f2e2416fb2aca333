import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// Weights in and out, under the names that the experts have in one process: `0.w1.weight` (F, D), `0.w2.weight` (D, F),
/// `0.w3.weight` (F, D).
extension ParallelExperts {
    public var ownWeights: [(name: String, shape: [Int])] {
        widths.enumerated().flatMap { expert, width in
            [
                ("\(expert).w1.weight", [width, hiddenSize]),
                ("\(expert).w2.weight", [hiddenSize, width]),
                ("\(expert).w3.weight", [width, hiddenSize]),
            ]
        }
    }

    /// Loads the neurons that this rank holds, and no others.
    public func loadOwnWeights(from source: any WeightSource, path: String) throws {
        for (expert, shard) in shards.enumerated() {
            guard let shard else { continue }
            let weights = NeuronMatrices(shard.value)
            let width = widths[expert]
            for (name, matrix) in [("w1", weights.w1), ("w3", weights.w3)] {
                try source.load(
                    join(path, "\(expert).\(name).weight"), shape: [width, hiddenSize],
                    rows: shard.neurons, columns: 0..<hiddenSize, into: matrix)
            }
            let columns = Tensor(rows: hiddenSize, columns: shard.neurons.count)
            try source.load(
                join(path, "\(expert).w2.weight"), shape: [hiddenSize, width],
                rows: 0..<hiddenSize, columns: shard.neurons, into: columns)
            weights.w2.copyTransposed(from: columns)
        }
    }

    /// Gathers one expert after the other on rank 0, whose sink gets it; the other ranks' sinks get nothing. Collective.
    public func storeOwnWeights(to sink: any WeightSink, path: String) throws {
        for expert in 0..<expertCount {
            guard let whole = try gather(expert: expert, { $0.value(of: $1) }) else { continue }
            try store(whole, expert: expert, to: sink, path: path)
        }
    }

    /// Hands the gradients over as `storeOwnWeights` does the weights. Call it when the owners have them. Collective.
    package func storeOwnGradients(to sink: any WeightSink, path: String) throws {
        for expert in 0..<expertCount {
            guard let whole = try gather(expert: expert, { $0.gradient(of: $1) }) else { continue }
            try store(whole, expert: expert, to: sink, path: path)
        }
    }

    private func store(_ whole: Tensor, expert: Int, to sink: any WeightSink, path: String) throws {
        let width = widths[expert]
        let weights = NeuronMatrices(whole)
        let matrix = Tensor(rows: width, columns: hiddenSize)
        matrix.copy(from: weights.w1)
        try sink.store(join(path, "\(expert).w1.weight"), shape: [width, hiddenSize], matrix)
        let transposed = Tensor(rows: hiddenSize, columns: width)
        transposed.copyTransposed(from: weights.w2)
        try sink.store(join(path, "\(expert).w2.weight"), shape: [hiddenSize, width], transposed)
        matrix.copy(from: weights.w3)
        try sink.store(join(path, "\(expert).w3.weight"), shape: [width, hiddenSize], matrix)
    }

    /// All neurons of an expert, (F, 3·D), on rank 0 from their owners; nil on other ranks.
    private func gather(expert: Int, _ part: (ExpertShard, Range<Int>) -> Tensor) throws -> Tensor? {
        let communicator = context.communicator
        let placement = placement.experts[expert]
        let owned = placement.ownedNeurons(of: communicator.rank)
        let columns = 3 * hiddenSize
        var sendCounts = [Int](repeating: 0, count: communicator.size)
        sendCounts[0] = owned.count * columns
        let isRoot = communicator.rank == 0
        let receiveCounts = (0..<communicator.size).map {
            isRoot ? placement.ownedNeurons(of: $0).count * columns : 0
        }
        let sent = shards[expert].map { part($0, owned) } ?? Tensor(rows: 0, columns: columns)
        let received = Tensor(rows: isRoot ? placement.width : 0, columns: columns)
        var target = received.mutableSpan
        try communicator.allToAll(sent.span, sendCounts: sendCounts, into: &target, receiveCounts: receiveCounts)
        guard isRoot else { return nil }

        // Blocks came in rank order; put them in neuron order.
        let whole = Tensor(rows: placement.width, columns: columns)
        var row = 0
        for rank in 0..<communicator.size {
            let neurons = placement.ownedNeurons(of: rank)
            whole.rows(neurons).copy(from: received.rows(row..<row + neurons.count))
            row += neurons.count
        }
        return whole
    }
}
