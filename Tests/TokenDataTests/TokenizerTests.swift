import Foundation
import Testing
import TokenData

@Suite struct TokenizerTests {
    private static let text = "Zoë said: “à propos”\r\n\u{65}\u{301} 🧠🇨🇭\0 end"

    @Test func bytesRoundTrip() throws {
        let tokens = try Tokenizer.bytes.encode(Self.text)
        #expect(tokens == Self.text.utf8.map(Int32.init))
        #expect(Tokenizer.bytes.decode(tokens) == Self.text)
        #expect(Tokenizer.bytes.vocabularySize == 256)
    }

    /// Scalars, not grapheme clusters; sorted and distinct.
    @Test func charactersAreSortedDistinctScalars() throws {
        let tokenizer = try Tokenizer(characters: "banana\u{301}".unicodeScalars)
        #expect(tokenizer.vocabularySize == 4)
        #expect(try tokenizer.encode("ban\u{301}") == [1, 0, 2, 3])
        let all = try Tokenizer(characters: Self.text.unicodeScalars)
        #expect(try Array(all.decode(all.encode(Self.text)).unicodeScalars) == Array(Self.text.unicodeScalars))
    }

    @Test func unknownCharactersAreNamed() throws {
        let tokenizer = try Tokenizer(characters: "ab".unicodeScalars)
        let error = #expect(throws: TokenDataError.unknownCharacter("é")) { try tokenizer.encode("aé") }
        #expect(try #require(error).description.contains("(U+00E9)"))
    }

    @Test func whatIsNoTokenBecomesTheReplacementCharacter() throws {
        #expect(Tokenizer.bytes.decode([65, 256, -1, 66]) == "A\u{FFFD}\u{FFFD}B")
        #expect(Tokenizer.bytes.decode([0xC3]) == "\u{FFFD}")
        #expect(Tokenizer.bytes.bytes(of: [0xC3]) == [0xC3])
        #expect(try Tokenizer(characters: "ab".unicodeScalars).decode([1, 2, 0]) == "b\u{FFFD}a")
    }

    @Test func charactersHaveALimit() throws {
        let scalars = (0..<70_000 as Range<UInt32>).lazy.compactMap(Unicode.Scalar.init)
        #expect(try Tokenizer(characters: scalars.prefix(65_535)).vocabularySize == 65_535)
        #expect(throws: TokenDataError.tooManyCharacters(limit: 65_535)) {
            try Tokenizer(characters: scalars.prefix(65_536))
        }
    }

    @Test(arguments: [
        ("{", "not the description"),
        ("[]", "not the description"),
        (#"{"format": 1, "tokenizer": "bytes"}"#, "\"vocabulary_size\" is missing"),
        (#"{"format": 1, "tokenizer": 3, "vocabulary_size": 256}"#, "\"tokenizer\" is of the wrong type"),
        (#"{"format": 2, "tokenizer": "bytes", "vocabulary_size": 256}"#, "format 2"),
        (#"{"format": 1, "tokenizer": "words", "vocabulary_size": 256}"#, "known are bytes, characters, bpe"),
        (#"{"format": 1, "tokenizer": "bytes", "vocabulary_size": 256, "token_bytes": 4}"#, "\"token_bytes\" is 4"),
        (#"{"format": 1, "tokenizer": "bpe", "vocabulary_size": 256, "characters": "a"}"#, "only for it"),
        (#"{"format": 1, "tokenizer": "bytes", "vocabulary_size": 255}"#, "has 256 tokens"),
        (#"{"format": 1, "tokenizer": "bytes", "vocabulary_size": 256, "characters": "a"}"#, "only for it"),
        (#"{"format": 1, "tokenizer": "characters", "vocabulary_size": 2}"#, "must be there"),
        (#"{"format": 1, "tokenizer": "characters", "vocabulary_size": 2, "characters": "ba"}"#, "sorted"),
        (#"{"format": 1, "tokenizer": "characters", "vocabulary_size": 2, "characters": "aa"}"#, "sorted"),
        (#"{"format": 1, "tokenizer": "characters", "vocabulary_size": 3, "characters": "ab"}"#, "has 2 tokens"),
    ])
    func contradictoryMetadataIsRefused(json: String, words: String) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(json.utf8, to: "meta.json")
        let error = #expect(throws: TokenDataError.self) { try Tokenizer(metadataFile: path) }
        let description = try #require(error).description
        #expect(description.hasPrefix(path + ": ") && description.contains(words), "\(description)")
    }

    @Test func missingMetadataIsNamed() {
        #expect(throws: TokenDataError.unreadable(file: "/nowhere/meta.json", reason: "No such file or directory")) {
            try Tokenizer(metadataFile: "/nowhere/meta.json")
        }
    }
}
