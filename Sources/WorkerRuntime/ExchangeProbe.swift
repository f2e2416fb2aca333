import ExpertPlacement
import MessagePassing

/// Measures what an all-to-all exchange costs before training starts.
package enum ExchangeProbe {
    private static let rounds = 10
    /// Bytes to each other rank: large enough for the bandwidth to show, small enough to take no time.
    private static let blockBytes = 1 << 20
    private static let totalBytes = 16 << 20

    /// Collective; all ranks get the slowest one's figures.
    /// - Returns: nil when there is one rank only.
    package static func measure(_ communicator: any Communicator) throws -> ExchangeCosts? {
        guard communicator.size > 1 else { return nil }
        let others = communicator.size - 1
        let block = max(1, min(blockBytes, totalBytes / others)) / MemoryLayout<Float>.stride
        _ = try seconds(block: 1, communicator)
        let latency = try seconds(block: 1, communicator)
        let full = try seconds(block: block, communicator)
        let bytes = Double(others * block * MemoryLayout<Float>.stride)
        return ExchangeCosts(latencySeconds: latency, bytesPerSecond: bytes / max(full - latency, 1e-9))
    }

    /// Median seconds of an exchange of `block` values with each other rank.
    private static func seconds(block: Int, _ communicator: any Communicator) throws -> Double {
        let counts = (0..<communicator.size).map { $0 == communicator.rank ? 0 : block }
        let sent = [Float](repeating: 1, count: block * (communicator.size - 1))
        var received = sent
        let clock = ContinuousClock()
        var times = [Double]()
        for _ in 0..<rounds {
            try communicator.barrier()
            let start = clock.now
            var target = received.mutableSpan
            try communicator.allToAll(sent.span, sendCounts: counts, into: &target, receiveCounts: counts)
            times.append((clock.now - start) / .seconds(1))
        }
        var median = [times.sorted()[rounds / 2]]
        var span = median.mutableSpan
        try communicator.allReduce(&span, .maximum)
        return median[0]
    }
}
