import Foundation

extension Tokenizer {
    /// The version of `meta.json` that this code writes and reads.
    public static let formatVersion = 1

    /// `meta.json`: which tokenizer made the token files beside it.
    private struct Metadata: Codable {
        var format: Int
        var tokenizer: String
        var vocabularySize: Int
        /// The characters in the order of their tokens; only for `characters`.
        var characters: String?
        /// Bytes a token in token files; nil: 2.
        var tokenBytes: Int?
        /// Only for `bpe`.
        var addsSpecialTokens: Bool?

        private enum CodingKeys: String, CodingKey {
            case format, tokenizer, characters
            case vocabularySize = "vocabulary_size"
            case tokenBytes = "token_bytes"
            case addsSpecialTokens = "adds_special_tokens"
        }

        /// Why there is no such tokenizer.
        struct Contradiction: Error {
            let reason: String
        }

        /// - Parameter tokenizerFile: the `tokenizer.json` beside, for `bpe`.
        /// - Throws: `Contradiction`, and `TokenDataError` of the `tokenizer.json`.
        func makeTokenizer(tokenizerFile: String) throws -> Tokenizer {
            guard format == Tokenizer.formatVersion else {
                throw Contradiction(
                    reason: "format \(format), but this program reads format \(Tokenizer.formatVersion); "
                        + "prepare the data again")
            }
            let result: Tokenizer
            switch (Kind(rawValue: tokenizer), characters.map { Array($0.unicodeScalars) }) {
            case (.bytes, nil):
                result = .bytes
            case (.characters, let characters?):
                guard let sorted = try? Tokenizer(characters: characters), sorted.characters == characters else {
                    throw Contradiction(
                        reason: "\"characters\" must be sorted, name none twice and be at most "
                            + "\(Tokenizer.maximumCharacters)")
                }
                result = sorted
            case (.bpe, nil):
                result = try Tokenizer(tokenizerFile: tokenizerFile, addsSpecialTokens: addsSpecialTokens ?? false)
            case (nil, _):
                let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw Contradiction(reason: "unknown tokenizer \"\(tokenizer)\"; known are \(known)")
            case (.bytes?, _?), (.bpe?, _?), (.characters?, nil):
                throw Contradiction(
                    reason: "\"characters\" must be there for the tokenizer characters, and only for it")
            }
            guard vocabularySize == result.vocabularySize else {
                throw Contradiction(
                    reason: "\"vocabulary_size\" is \(vocabularySize), but the tokenizer has "
                        + "\(result.vocabularySize) tokens")
            }
            guard tokenBytes ?? 2 == result.tokenBytes else {
                throw Contradiction(
                    reason:
                        "\"token_bytes\" is \(tokenBytes ?? 2), but tokens of the vocabulary take \(result.tokenBytes) bytes"
                )
            }
            return result
        }
    }

    /// Reads `meta.json`, and for `bpe` the `tokenizer.json` beside it.
    /// - Throws: `TokenDataError` when it cannot be read or contradicts itself.
    public init(metadataFile path: String) throws(TokenDataError) {
        let metadata: Metadata
        do {
            metadata = try JSONDecoder().decode(Metadata.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        } catch let error as DecodingError {
            throw .invalidMetadata(file: path, reason: "not the description of a tokenizer: \(Self.explain(error))")
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
        do {
            self = try metadata.makeTokenizer(
                tokenizerFile: URL(fileURLWithPath: path).deletingLastPathComponent().appending(
                    path: Self.tokenizerFileName
                ).path)
        } catch let error as Metadata.Contradiction {
            throw .invalidMetadata(file: path, reason: error.reason)
        } catch let error as TokenDataError {
            throw error
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
    }

    /// The name that the `tokenizers` package's files have beside a model, and beside token files.
    public static let tokenizerFileName = "tokenizer.json"
    /// What describes token files.
    public static let metadataFileName = "meta.json"

    /// The tokenizer of a directory of token files or of a model: that of its `meta.json`, or else of its `tokenizer.json`, whose
    /// special tokens are added; nil when it has neither.
    /// - Throws: `TokenDataError` when it is of no use.
    public static func of(directory: String) throws(TokenDataError) -> Tokenizer? {
        let folder = URL(fileURLWithPath: directory)
        let metadata = folder.appending(path: metadataFileName).path
        if FileManager.default.fileExists(atPath: metadata) { return try Tokenizer(metadataFile: metadata) }
        let file = folder.appending(path: tokenizerFileName).path
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        return try Tokenizer(tokenizerFile: file, addsSpecialTokens: true)
    }

    /// The contents of `meta.json`.
    func metadata() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        var text = String.UnicodeScalarView()
        text.append(contentsOf: characters ?? [])
        var data = try encoder.encode(
            Metadata(
                format: Self.formatVersion, tokenizer: kind.rawValue, vocabularySize: vocabularySize,
                characters: characters == nil ? nil : String(text), tokenBytes: tokenBytes == 2 ? nil : tokenBytes,
                addsSpecialTokens: addsSpecialTokens ? true : nil))
        data.append(contentsOf: "\n".utf8)
        return data
    }

    private static func explain(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "\"\(key.stringValue)\" is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\"\(context.codingPath.map(\.stringValue).joined(separator: "."))\" is of the wrong type"
        default: "it is not JSON"
        }
    }
}
