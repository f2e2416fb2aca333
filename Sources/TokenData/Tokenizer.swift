/// Turns text into tokens and back.
public struct Tokenizer: Sendable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// A token is a byte of the text, 0 ..< 256.
        case bytes
        /// A token is the index of a Unicode scalar among the distinct ones of the corpus, sorted: as nanoGPT's `char` data.
        case characters
        /// Byte-level byte-pair encoding, as a `tokenizer.json` of Hugging Face's `tokenizers` package describes it.
        case bpe
    }

    /// The most characters that a `characters` tokenizer tells apart.
    public static let maximumCharacters = 65_535

    public let kind: Kind
    /// What the tokens stand for; only for `characters`.
    let characters: [Unicode.Scalar]?
    private let tokens: [Unicode.Scalar: Int32]
    /// Only for `bpe`.
    let pairs: BytePairTokenizer?
    /// Texts begin and end with the special tokens that the tokenizer's post-processor puts there.
    let addsSpecialTokens: Bool

    /// One token a byte.
    public static let bytes = Tokenizer(kind: .bytes)

    /// One token for each of `characters`, which are sorted and made distinct.
    /// - Throws: `TokenDataError.tooManyCharacters`.
    public init(characters: some Sequence<Unicode.Scalar>) throws(TokenDataError) {
        let distinct = Set(characters).sorted()
        guard distinct.count <= Self.maximumCharacters else { throw .tooManyCharacters(limit: Self.maximumCharacters) }
        self.init(kind: .characters, characters: distinct)
    }

    /// The tokens of a `tokenizer.json`.
    /// - Parameter addsSpecialTokens: when the file names special tokens for the beginning or end of a text, they are put there.
    /// - Throws: `TokenDataError` when it cannot be read, is damaged, or is of a tokenizer that is not supported.
    public init(tokenizerFile path: String, addsSpecialTokens: Bool) throws(TokenDataError) {
        try self.init(
            tokenizerFile: path, contents: BytePairTokenizer.contents(ofFile: path),
            addsSpecialTokens: addsSpecialTokens)
    }

    /// - Parameter path: where `contents` are from.
    init(tokenizerFile path: String, contents: [UInt8], addsSpecialTokens: Bool) throws(TokenDataError) {
        let pairs: BytePairTokenizer
        do {
            pairs = try TokenizerFile(contents).tokenizer()
        } catch {
            throw .invalidMetadata(file: path, reason: error.reason)
        }
        guard pairs.frame != nil || !addsSpecialTokens else {
            throw .invalidMetadata(
                file: path, reason: "its post_processor is not known, so special tokens cannot be added to texts")
        }
        self.init(kind: .bpe, pairs: pairs, addsSpecialTokens: addsSpecialTokens)
    }

    private init(
        kind: Kind, characters: [Unicode.Scalar]? = nil, pairs: BytePairTokenizer? = nil,
        addsSpecialTokens: Bool = false
    ) {
        self.kind = kind
        self.characters = characters
        self.pairs = pairs
        self.addsSpecialTokens = addsSpecialTokens
        tokens = Dictionary(uniqueKeysWithValues: (characters ?? []).enumerated().map { ($1, Int32($0)) })
    }

    public var vocabularySize: Int { pairs?.vocabularySize ?? characters?.count ?? 256 }

    /// Bytes a token in token files: 2, or 4 for vocabularies over 65,536.
    public var tokenBytes: Int { vocabularySize > 1 << 16 ? 4 : 2 }

    /// What comes before and after a text.
    var frame: BytePairTokenizer.Frame { addsSpecialTokens ? pairs?.frame ?? .init() : .init() }

    /// The tokens of a text, or of the beginning of one that is to be continued.
    /// - Throws: `TokenDataError`: `unknownCharacter` for `characters`, `tooManySteps` for `bpe`.
    public func encode(_ text: String) throws(TokenDataError) -> [Int32] {
        switch kind {
        case .bytes: return text.utf8.map(Int32.init)
        case .characters:
            var encoded = [Int32]()
            for scalar in text.unicodeScalars { encoded.append(try token(of: scalar)) }
            return encoded
        case .bpe:
            guard let pairs else { return [] }
            var (encoder, encoded) = (BytePairEncoder(pairs), frame.before)
            try Array(text.utf8).withUnsafeBufferPointer { (text) throws(TokenDataError) in
                try encoder.encode(text, to: &encoded)
            }
            return encoded
        }
    }

    /// Where `text`, the beginning of a longer one, may be cut so that its parts have the tokens that the whole has; nil when it may not. Only
    /// for `bpe`.
    package func cut(_ text: UnsafeBufferPointer<UInt8>) -> Int? { pairs?.cut(text) }

    func token(of scalar: Unicode.Scalar) throws(TokenDataError) -> Int32 {
        guard let token = tokens[scalar] else { throw .unknownCharacter(scalar) }
        return token
    }

    /// The text of `tokens`. Bytes that are not UTF-8 and tokens outside the vocabulary become U+FFFD.
    public func decode(_ tokens: some Sequence<Int32>) -> String {
        String(decoding: bytes(of: tokens), as: UTF8.self)
    }

    /// The text of `tokens` as UTF-8, to be written as it comes: with `bytes` and `bpe` a token may be a part of a character
    /// only (`UTF8Stream`). Tokens outside the vocabulary become U+FFFD.
    public func bytes(of tokens: some Sequence<Int32>) -> [UInt8] {
        var bytes = [UInt8]()
        for token in tokens {
            guard token >= 0 && token < vocabularySize else {
                bytes.append(contentsOf: "\u{FFFD}".utf8)
                continue
            }
            if let pairs {
                bytes.append(contentsOf: pairs.texts[Int(token)])
            } else if let characters {
                bytes.append(contentsOf: UTF8.encode(characters[Int(token)]) ?? UTF8.encodedReplacementCharacter)
            } else {
                bytes.append(UInt8(token))
            }
        }
        return bytes
    }
}
