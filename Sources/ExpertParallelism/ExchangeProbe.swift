import ExpertPlacement
import MessagePassing
import Tensors

/// Measures what an exchange costs before training starts, as training does it: rows are gathered from memory, sent, and
/// added or put in place where they arrive. That takes several times as long as sending alone.
package enum ExchangeProbe {
    private static let rounds = 3
    /// The most bytes that a rank sends in an exchange: caches do not hold them.
    private static let mostBytes = 64 << 20
    /// Bytes of a neuron's weights for each entry of the hidden state.
    private static let weightBytes = 3 * MemoryLayout<Float>.stride
    private static let columns = 1024
    /// With more ranks than that, each sends to those that follow it.
    private static let mostPartners = 32

    /// Collective; all ranks get the slowest one's figures.
    /// - Parameter model: as many bytes as its experts have, at most, are exchanged.
    /// - Returns: nil when there is one rank only.
    package static func measure(_ communicator: any Communicator, model: ExpertModel) throws -> ExchangeCosts? {
        guard communicator.size > 1 else { return nil }
        let kept = StoragePool.shared.freeBytes
        defer { StoragePool.shared.trim(to: kept) }
        let latency = try latencySeconds(communicator)
        let (bytes, seconds) = try exchange(communicator, bytes: min(model.size, mostBytes / weightBytes) * weightBytes)
        return ExchangeCosts(latencySeconds: latency, bytesPerSecond: Double(bytes) / max(seconds - latency, 1e-9))
    }

    /// Seconds of an exchange of one value with each other rank.
    private static func latencySeconds(_ communicator: any Communicator) throws -> Double {
        let counts = (0..<communicator.size).map { $0 == communicator.rank ? 0 : 1 }
        let sent = [Float](repeating: 1, count: communicator.size - 1)
        var received = sent
        return try medianSeconds(communicator) {
            var target = received.mutableSpan
            try communicator.allToAll(sent.span, sendCounts: counts, into: &target, receiveCounts: counts)
        }
    }

    /// Bytes that a rank sends, and seconds, as for gradients that are added at their owners and weights that come back.
    private static func exchange(
        _ communicator: any Communicator, bytes: Int
    ) throws -> (bytes: Int, seconds: Double) {
        let context = ExpertParallelContext(communicator: communicator)
        let size = communicator.size
        let partners = min(size - 1, mostPartners)
        let rows = max(1, bytes / (partners * columns * MemoryLayout<Float>.stride))
        let transfers = (0..<size).flatMap { source in
            (0..<partners).map { index in
                NeuronTransfer(
                    expert: 0, neurons: index * rows..<(index + 1) * rows, source: source,
                    destination: (source + 1 + index) % size)
            }
        }
        let exchange = NeuronExchange(transfers, columns: columns, context: context)
        let values = Tensor(rows: partners * rows, columns: columns, repeating: 1)
        let sums = Tensor(rows: partners * rows, columns: columns, repeating: 0)
        let seconds = try medianSeconds(communicator) {
            try exchange.add(
                context: context, read: { values.rows($0.neurons) }, target: { sums.rows($0.neurons) })
            try exchange.startCopy(
                context: context, read: { sums.rows($0.neurons) }, target: { values.rows($0.neurons) }
            )?.wait()
        }
        return (2 * partners * rows * columns * MemoryLayout<Float>.stride, seconds)
    }

    /// Of several rounds after a first one, on the slowest rank.
    private static func medianSeconds(_ communicator: any Communicator, _ body: () throws -> Void) throws -> Double {
        let clock = ContinuousClock()
        try body()
        var times = [Double]()
        for _ in 0..<rounds {
            try communicator.barrier()
            let start = clock.now
            try body()
            times.append((clock.now - start) / .seconds(1))
        }
        var median = [times.sorted()[rounds / 2]]
        var span = median.mutableSpan
        try communicator.allReduce(&span, .maximum)
        return median[0]
    }
}
