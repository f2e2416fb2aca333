import Tensors

/// The optimizer state of one expert that this rank owns.
struct OwnedState {
    /// Not empty.
    let neurons: Range<Int>
    /// The owned neurons that this rank does not compute with, at most one range on each side of those that it does, whose
    /// shard holds the masters of the others.
    var masters: [ExpertShard]
    /// (n, 3·D) as a shard's values, which are the fp32 master weights.
    let firstMoment: Tensor
    let secondMoment: Tensor

    /// Rows of the moments that belong to `range`, which lies within `neurons`.
    func local(_ range: Range<Int>) -> Range<Int> {
        range.lowerBound - neurons.lowerBound..<range.upperBound - neurons.lowerBound
    }
}
