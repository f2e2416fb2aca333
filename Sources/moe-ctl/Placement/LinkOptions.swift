import ArgumentParser
import ExpertPlacement

/// What messages between ranks cost.
struct LinkOptions: ParsableArguments {
    static let defaultLatency = 5e-5
    static let defaultBandwidth = 4e9

    @Option(
        help: ArgumentHelp(
            "Bytes a second that a rank sends and receives while all do (default: 4e9, unless a trace tells).",
            valueName: "x"))
    var bandwidth: Double?
    @Option(
        help: ArgumentHelp(
            "Seconds of an exchange without bytes (default: 5e-5, unless a trace tells).", valueName: "s"))
    var latency: Double?

    @Option(
        help: ArgumentHelp(
            "Bytes a second that a rank sends to and receives from other nodes (default: as within a node).",
            valueName: "x"))
    var bandwidthBetweenNodes: Double?
    @Option(
        help: ArgumentHelp(
            "Seconds of an exchange between nodes without bytes (default: as within a node).", valueName: "s"))
    var latencyBetweenNodes: Double?

    func validate() throws {
        if let bandwidthBetweenNodes {
            try checkRange(bandwidthBetweenNodes, "--bandwidth-between-nodes", in: ExchangeCosts.bandwidths)
        }
        if let latencyBetweenNodes {
            try checkRange(latencyBetweenNodes, "--latency-between-nodes", in: ExchangeCosts.latencies)
        }
        if let bandwidth { try checkRange(bandwidth, "--bandwidth", in: ExchangeCosts.bandwidths) }
        if let latency { try checkRange(latency, "--latency", in: ExchangeCosts.latencies) }
    }

    func exchange(otherwise measured: ExchangeCosts?) -> ExchangeCosts {
        ExchangeCosts(
            latencySeconds: latency ?? measured?.latencySeconds ?? Self.defaultLatency,
            bytesPerSecond: bandwidth ?? measured?.bytesPerSecond ?? Self.defaultBandwidth)
    }

    /// Nil: as within a node.
    func betweenNodes(otherwise measured: Cluster? = nil) -> ExchangeCosts? {
        guard bandwidthBetweenNodes != nil || latencyBetweenNodes != nil || measured?.exchangeBetweenNodes != nil else {
            return nil
        }
        let within = exchange(otherwise: measured?.exchange)
        return ExchangeCosts(
            latencySeconds: latencyBetweenNodes ?? measured?.exchangeBetweenNodes?.latencySeconds
                ?? within.latencySeconds,
            bytesPerSecond: bandwidthBetweenNodes ?? measured?.exchangeBetweenNodes?.bytesPerSecond
                ?? within.bytesPerSecond)
    }

    /// The options that are given, for messages.
    var given: [(name: String, isGiven: Bool)] {
        [
            ("--bandwidth", bandwidth != nil), ("--latency", latency != nil),
            ("--bandwidth-between-nodes", bandwidthBetweenNodes != nil),
            ("--latency-between-nodes", latencyBetweenNodes != nil),
        ]
    }
}

/// - Throws: `ValidationError` that names the option.
func checkRange<Value: Comparable>(_ value: Value, _ name: String, in range: ClosedRange<Value>) throws {
    guard range.contains(value) else {
        throw ValidationError("\(name) must be from \(range.lowerBound) to \(range.upperBound), but is \(value)")
    }
}
