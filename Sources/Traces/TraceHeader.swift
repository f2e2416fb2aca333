import ExpertPlacement

/// What a trace is of: its first line.
public struct TraceHeader: Hashable, Sendable, Codable {
    /// The run that was recorded.
    public var run: String?
    /// Where the loads come from: `recorded`, `zipf`, `eplb` …
    public var source: String
    /// Hidden size, layers, experts and their widths.
    public var model: ExpertModel
    /// The ranks that were recorded.
    public var cluster: Cluster?
    /// Experts that a token goes to.
    public var topK: Int?
    /// Of generated loads.
    public var seed: Int?

    public init(
        run: String? = nil, source: String, model: ExpertModel, cluster: Cluster? = nil, topK: Int? = nil,
        seed: Int? = nil
    ) {
        self.run = run
        self.source = source
        self.model = model
        self.cluster = cluster
        self.topK = topK
        self.seed = seed
    }

    private enum CodingKeys: String, CodingKey {
        case run, source, model, cluster, seed
        case topK = "top_k"
    }
}
