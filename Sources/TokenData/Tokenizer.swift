/// Turns text into tokens and back.
public struct Tokenizer: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// A token is a byte of the text, 0 ..< 256.
        case bytes
        /// A token is the index of a Unicode scalar among the distinct ones of the corpus, sorted: as nanoGPT's `char` data.
        case characters
    }

    /// The most characters that a `characters` tokenizer tells apart.
    public static let maximumCharacters = 65_535

    public let kind: Kind
    /// What the tokens stand for; nil for bytes.
    let characters: [Unicode.Scalar]?
    private let tokens: [Unicode.Scalar: Int32]

    /// One token a byte.
    public static let bytes = Tokenizer(kind: .bytes, characters: nil)

    /// One token for each of `characters`, which are sorted and made distinct.
    /// - Throws: `TokenDataError.tooManyCharacters`.
    public init(characters: some Sequence<Unicode.Scalar>) throws(TokenDataError) {
        let distinct = Set(characters).sorted()
        guard distinct.count <= Self.maximumCharacters else { throw .tooManyCharacters(limit: Self.maximumCharacters) }
        self.init(kind: .characters, characters: distinct)
    }

    private init(kind: Kind, characters: [Unicode.Scalar]?) {
        self.kind = kind
        self.characters = characters
        tokens = Dictionary(uniqueKeysWithValues: (characters ?? []).enumerated().map { ($1, Int32($0)) })
    }

    public var vocabularySize: Int { characters?.count ?? 256 }

    /// - Throws: `TokenDataError.unknownCharacter`; never for bytes.
    public func encode(_ text: String) throws(TokenDataError) -> [Int32] {
        guard kind == .characters else { return text.utf8.map(Int32.init) }
        var encoded = [Int32]()
        for scalar in text.unicodeScalars { encoded.append(try token(of: scalar)) }
        return encoded
    }

    func token(of scalar: Unicode.Scalar) throws(TokenDataError) -> Int32 {
        guard let token = tokens[scalar] else { throw .unknownCharacter(scalar) }
        return token
    }

    /// The text of `tokens`. Bytes that are not UTF-8 and tokens outside the vocabulary become U+FFFD.
    public func decode(_ tokens: some Sequence<Int32>) -> String {
        String(decoding: bytes(of: tokens), as: UTF8.self)
    }

    /// The text of `tokens` as UTF-8, to be written as it comes: with `bytes` a token may be a part of a character only.
    /// Tokens outside the vocabulary become U+FFFD.
    public func bytes(of tokens: some Sequence<Int32>) -> [UInt8] {
        var bytes = [UInt8]()
        for token in tokens {
            guard token >= 0 && token < vocabularySize else {
                bytes.append(contentsOf: "\u{FFFD}".utf8)
                continue
            }
            if let characters {
                bytes.append(contentsOf: UTF8.encode(characters[Int(token)]) ?? UTF8.encodedReplacementCharacter)
            } else {
                bytes.append(UInt8(token))
            }
        }
        return bytes
    }
}
