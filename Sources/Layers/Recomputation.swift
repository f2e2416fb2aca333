/// What a layer computes again in its backward pass instead of keeping it from forward (activation checkpointing, Chen et al.
/// 2016, arXiv:1604.06174). Results are the same, bit by bit, because the second pass gets the same bits and picks the same experts.
public enum Recomputation: String, Sendable, CaseIterable {
    /// Nothing: all that backward needs is kept.
    case none
    /// The attention, with the norm before it.
    case attention
    /// The router and the experts, with the norm before them. Rows travel to the experts once more.
    case experts
    /// All of the layer: only its input is kept.
    case full

    public var coversAttention: Bool { self == .attention || self == .full }
    public var coversExperts: Bool { self == .experts || self == .full }
}
