/// Input that a model cannot take.
public enum MixtralError: Error, Equatable, CustomStringConvertible {
    case tokenOutsideVocabulary(token: Int, position: Int, vocabularySize: Int)
    case sequenceTooLong(length: Int, maximumPositions: Int)
    case tokenCount(found: Int, sequences: Int, sequenceLength: Int)

    public var description: String {
        switch self {
        case .tokenOutsideVocabulary(let token, let position, let vocabularySize):
            "token \(token) at position \(position) is outside the vocabulary of \(vocabularySize) tokens; prepare the data "
                + "with the model's tokenizer, or make the model with the data's vocabulary"
        case .sequenceTooLong(let length, let maximumPositions):
            "a sequence of \(length) tokens is longer than the model's max_position_embeddings, \(maximumPositions)"
        case .tokenCount(let found, let sequences, let sequenceLength):
            "there are \(found) tokens, not \(sequences) sequences of \(sequenceLength)"
        }
    }
}
