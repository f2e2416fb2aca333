/// Where the tokenizer of a corpus comes from.
public enum TokenizerSource: Sendable, Hashable {
    case bytes
    /// The characters of the corpus.
    case characters
    /// Learned from the corpus: at most so many tokens, 256 at least, of pairs that occur at least so often.
    case bpe(vocabularySize: Int, minimumFrequency: Int = 1)
    /// A `tokenizer.json`.
    case file(String, addsSpecialTokens: Bool = false)
}

extension Tokenizer {
    /// How many tokens `bpe` can learn.
    public static let vocabularySizes = 256...BytePairTokenizer.maximumTokens
}
