/// How many tokens an expert takes in a training pass (GShard, Lepikhin et al. 2020, arXiv:2006.16668): C = ⌈factor·T·K/E⌉ of the T
/// tokens of all ranks. What finds no place is dropped: it adds nothing, and the token's other weights stay as they are.
public struct ExpertCapacity: Sendable, Equatable {
    /// Who keeps a place.
    public enum DropPolicy: String, Sendable, CaseIterable {
        /// The first tokens of the global batch.
        case position
        /// The largest weights; of those that are equal to twelve significant bits the first tokens.
        case score
    }

    public var factor: Double
    public var dropPolicy: DropPolicy
    /// Whether ranks that compute with an expert fill up its rows to C with zeros, so that shapes are always the same.
    public var pads: Bool

    public init(factor: Double, dropPolicy: DropPolicy = .position, pads: Bool = false) {
        (self.factor, self.dropPolicy, self.pads) = (factor, dropPolicy, pads)
    }

    /// C, from 1 to T, unless there are no tokens.
    static func rows(factor: Double, tokens: Int, expertsPerToken: Int, experts: Int) -> Int {
        let exact = factor * Double(tokens) * Double(expertsPerToken) / Double(experts)
        // A product that is whole but for rounding must not be rounded up.
        let rows = (exact * (1 - 1e-12)).rounded(.up)
        return rows < Double(tokens) ? max(1, Int(rows)) : tokens
    }
}
