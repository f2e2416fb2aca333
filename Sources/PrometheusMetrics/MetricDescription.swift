/// What a metric is, for people and for Prometheus (https://prometheus.io/docs/practices/naming/).
public struct MetricDescription: Sendable {
    public enum Kind: Sendable {
        case counter
        case gauge
        /// - Parameter bounds: of its buckets, ascending; one for all that is above them comes last by itself.
        case histogram(bounds: [Double])
    }

    public let name: String
    /// One line.
    public let help: String
    public let kind: Kind

    public init(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        self.kind = kind
        self.help = help
    }
}
