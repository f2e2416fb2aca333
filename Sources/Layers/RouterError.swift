/// What a router cannot do with the tokens that it gets.
public enum RouterError: Error, Equatable, CustomStringConvertible {
    /// Balance by sequence needs whole ones.
    case partialSequences(tokens: Int, sequenceLength: Int)

    public var description: String {
        switch self {
        case .partialSequences(let tokens, let sequenceLength):
            "balance by sequence (seq_aux) needs whole sequences, not \(tokens) tokens of sequences of \(sequenceLength)"
        }
    }
}
