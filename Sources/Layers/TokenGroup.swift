/// The ranks whose tokens a layer routes together, each with consecutive ones in the order of the ranks; and what random numbers
/// depend on.
public protocol TokenGroup {
    var seed: UInt64 { get }
    var step: Int { get }
    var layer: Int { get }
    /// Index in the global batch of this rank's first token.
    var firstToken: Int { get }
    /// This rank, and how many there are.
    var rank: Int { get }
    var size: Int { get }

    /// The ranks' entries, rank by rank. Collective, as is `sum`.
    func gather(_ entries: [Int32]) throws -> [Int32]
    /// The ranks' sums, entry by entry.
    func sum(_ entries: inout [Int32]) throws
}

/// One process with all tokens.
public struct SingleProcess: TokenGroup, Sendable {
    public var seed: UInt64
    public var step: Int
    public var layer: Int
    public var firstToken: Int

    public init(seed: UInt64 = 0, step: Int = 0, layer: Int = 0, firstToken: Int = 0) {
        (self.seed, self.step, self.layer, self.firstToken) = (seed, step, layer, firstToken)
    }

    public var rank: Int { 0 }
    public var size: Int { 1 }

    public func gather(_ entries: [Int32]) -> [Int32] { entries }
    public func sum(_ entries: inout [Int32]) {}
}
