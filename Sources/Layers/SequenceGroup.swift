/// The ranks that have the tokens of the same sequences, each some of them, in the order of the ranks.
public protocol SequenceGroup: AnyObject {
    /// Which of `count` tokens, sequence after sequence, this rank has.
    func ownTokens(of count: Int) -> Range<Int>
    /// Adds up the ranks' values, entry by entry. Collective among them.
    func sum(_ values: inout [Double]) throws
}
