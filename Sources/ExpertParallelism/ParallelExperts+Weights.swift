import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// Weights in and out, under the names that the experts have in one process: with Mixtral's `0.w1.weight` (F, D), `0.w2.weight` (D, F),
/// `0.w3.weight` (F, D).
extension ParallelExperts {
    public var ownWeights: [(name: String, shape: [Int])] {
        (0..<expertCount).flatMap { weights(of: $0) }
    }

    /// Of one expert, in the order in which `store` hands them over.
    func weights(of expert: Int) -> [(name: String, shape: [Int])] {
        let width = widths[expert]
        return [
            ("\(expert).\(names.gate).weight", [width, hiddenSize]),
            ("\(expert).\(names.down).weight", [hiddenSize, width]),
            ("\(expert).\(names.up).weight", [width, hiddenSize]),
        ]
    }

    /// Loads the neurons that this rank holds, and no others.
    public func loadOwnWeights(from source: any WeightSource, path: String) throws {
        for (expert, shard) in shards.enumerated() {
            guard let shard else { continue }
            let weights = NeuronMatrices(shard.value)
            let width = widths[expert]
            for (name, matrix) in [(names.gate, weights.w1), (names.up, weights.w3)] {
                try source.load(
                    join(path, "\(expert).\(name).weight"), shape: [width, hiddenSize],
                    rows: shard.neurons, columns: 0..<hiddenSize, into: matrix)
            }
            let columns = Tensor(rows: hiddenSize, columns: shard.neurons.count)
            try source.load(
                join(path, "\(expert).\(names.down).weight"), shape: [hiddenSize, width],
                rows: 0..<hiddenSize, columns: shard.neurons, into: columns)
            weights.w2.copyTransposed(from: columns)
        }
    }

    /// Gathers one expert after the other on rank 0, whose sink gets it; the other ranks' sinks get nothing. Collective.
    public func storeOwnWeights(to sink: any WeightSink, path: String) throws {
        for expert in 0..<expertCount {
            // Every rank that computes with neurons has their weights; these cut them evenly over the replicas.
            let parts = placement.experts[expert].owners
            let whole = try gather(expert: expert, parts) { neurons in
                shards[expert].map { $0.value(of: neurons) }
            }
            guard let whole else { continue }
            try store(whole, expert: expert, to: sink, path: path)
        }
    }

    func store(_ whole: Tensor, expert: Int, to sink: any WeightSink, path: String) throws {
        let width = widths[expert]
        let weights = NeuronMatrices(whole)
        let matrix = Tensor(rows: width, columns: hiddenSize)
        matrix.copy(from: weights.w1)
        try sink.store(join(path, "\(expert).\(names.gate).weight"), shape: [width, hiddenSize], matrix)
        let transposed = Tensor(rows: hiddenSize, columns: width)
        transposed.copyTransposed(from: weights.w2)
        try sink.store(join(path, "\(expert).\(names.down).weight"), shape: [hiddenSize, width], transposed)
        matrix.copy(from: weights.w3)
        try sink.store(join(path, "\(expert).\(names.up).weight"), shape: [width, hiddenSize], matrix)
    }

    /// All neurons of an expert, (F, 3·D), on rank 0; nil on other ranks. Collective.
    /// - Parameters:
    ///   - parts: who hands over which neurons; each rank one range.
    ///   - read: neurons of this rank's range, (n, 3·D) without gaps.
    func gather(expert: Int, _ parts: [RankRange], _ read: (Range<Int>) -> Tensor?) throws -> Tensor? {
        let communicator = context.communicator
        let ranges = Dictionary(uniqueKeysWithValues: parts.map { ($0.rank, $0.neurons) })
        let owned = ranges[communicator.rank] ?? 0..<0
        let columns = 3 * hiddenSize
        var sendCounts = [Int](repeating: 0, count: communicator.size)
        sendCounts[0] = owned.count * columns
        let isRoot = communicator.rank == 0
        let receiveCounts = (0..<communicator.size).map {
            isRoot ? (ranges[$0]?.count ?? 0) * columns : 0
        }
        let sent = (owned.isEmpty ? nil : read(owned)) ?? Tensor(rows: 0, columns: columns)
        let received = Tensor(rows: isRoot ? widths[expert] : 0, columns: columns)
        var target = received.mutableSpan
        try communicator.allToAll(sent.span, sendCounts: sendCounts, into: &target, receiveCounts: receiveCounts)
        guard isRoot else { return nil }

        // Blocks came in rank order; put them in neuron order.
        let whole = Tensor(rows: widths[expert], columns: columns)
        var row = 0
        for rank in 0..<communicator.size {
            let neurons = ranges[rank] ?? 0..<0
            whole.rows(neurons).copy(from: received.rows(row..<row + neurons.count))
            row += neurons.count
        }
        return whole
    }
}
