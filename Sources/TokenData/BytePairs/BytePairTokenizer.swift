import Foundation

/// A byte-level tokenizer as Hugging Face's `tokenizers` package has it: added tokens are taken out of the text, the rest is
/// normalised and split into words, and pairs of tokens are merged within words.
struct BytePairTokenizer: Sendable {
    let model: BytePairModel
    let normalizer: TextNormalizer
    let splitter: WordSplitter
    /// Those that are looked for in the text as it is given.
    let verbatim: AddedTokens
    /// Those that are looked for in the normalised text.
    let normalized: AddedTokens
    /// What each token stands for.
    let texts: [[UInt8]]
    /// What comes before and after a text when special tokens are asked for; nil: the file has what is not read here.
    let frame: Frame?
    /// A text may be cut before a space or punctuation that follows a letter, and its parts encoded alone.
    let isCutAfterLetters: Bool

    struct Frame: Sendable, Equatable {
        var before: [Int32] = []
        var after: [Int32] = []
    }

    var vocabularySize: Int { texts.count }

    /// What a text consists of.
    enum Part {
        case token(Int32)
        case word(UnsafeBufferPointer<UInt8>)
    }

    /// Calls `body` with the parts of `text` from left to right.
    /// - Parameter text: valid UTF-8.
    /// - Throws: `TokenDataError.tooManySteps`.
    func forEachPart(of text: UnsafeBufferPointer<UInt8>, _ body: (Part) -> Void) throws(TokenDataError) {
        try verbatim.forEachPiece(in: text) { (piece, token) throws(TokenDataError) in
            if let token { return body(.token(token)) }
            let piece = UnsafeBufferPointer(rebasing: text[piece])
            try normalizer.withNormalized(piece) { (text) throws(TokenDataError) in
                try normalized.forEachPiece(in: text) { (piece, token) throws(TokenDataError) in
                    if let token { return body(.token(token)) }
                    try splitter.forEachWord(in: UnsafeBufferPointer(rebasing: text[piece])) { body(.word($0)) }
                }
            }
        }
    }

    /// Where `text`, the beginning of a longer one, may be cut so that its parts have the tokens that the whole has; nil when
    /// it may not.
    func cut(_ text: UnsafeBufferPointer<UInt8>) -> Int? { isCutAfterLetters ? Self.cutAfterLetter(text) : nil }

    /// The last place between a letter and what ends words that follow one.
    static func cutAfterLetter(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        var end = text.count
        var next: Unicode.Scalar?
        // What is cut off at the end may be a part of a scalar.
        while let start = text[..<end].lastIndex(where: { $0 & 0xC0 != 0x80 }) {
            let scalar = String(decoding: text[start..<end], as: UTF8.self).unicodeScalars.first
            if let scalar, let next, isBoundary(scalar, next) { return end }
            next = scalar
            end = start
        }
        return nil
    }

    /// Whether words end between these, in the expressions that are known.
    static func isBoundary(_ scalar: Unicode.Scalar, _ next: Unicode.Scalar) -> Bool {
        func category(_ scalar: Unicode.Scalar) -> String { UnicodeCategories.name(of: scalar) }
        guard category(scalar).hasPrefix("L") else { return false }
        if next.properties.isWhitespace { return true }
        // Katakana's dashes and dots are in one class with its letters in DeepSeek's expressions.
        if (0x30A0...0x30FF).contains(next.value) { return false }
        let following = category(next)
        return !next.isASCII && following.hasPrefix("P") && following != "Pc"
    }
}

/// Encodes one text after another, and remembers words.
struct BytePairEncoder {
    private static let longestRememberedWord = 64
    private static let rememberedWords = 1 << 18

    private let tokenizer: BytePairTokenizer
    private var words = ByteStringTable(capacity: 1 << 12)
    /// The tokens of word i are `wordTokens[wordEnds[i]..<wordEnds[i + 1]]`.
    private var wordEnds = [0]
    private var wordTokens: [Int32] = []
    private var scratch = BytePairModel.Scratch()

    init(_ tokenizer: BytePairTokenizer) { self.tokenizer = tokenizer }

    /// Appends the tokens of `text` to `output`.
    /// - Parameter text: valid UTF-8.
    /// - Throws: `TokenDataError.tooManySteps`.
    mutating func encode(_ text: UnsafeBufferPointer<UInt8>, to output: inout [Int32]) throws(TokenDataError) {
        let tokenizer = tokenizer
        try tokenizer.forEachPart(of: text) { part in
            switch part {
            case .token(let token): output.append(token)
            case .word(let word): encode(word: word, to: &output)
            }
        }
    }

    private mutating func encode(word: UnsafeBufferPointer<UInt8>, to output: inout [Int32]) {
        guard word.count <= Self.longestRememberedWord else {
            return tokenizer.model.encode(word, scratch: &scratch, to: &output)
        }
        if let index = words.index(of: word) {
            for place in wordEnds[index]..<wordEnds[index + 1] { output.append(wordTokens[place]) }
            return
        }
        let start = output.count
        tokenizer.model.encode(word, scratch: &scratch, to: &output)
        if words.count < Self.rememberedWords {
            _ = words.insert(word)
            wordTokens.append(contentsOf: output[start...])
            wordEnds.append(wordTokens.count)
        }
    }
}
