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

        private enum CodingKeys: String, CodingKey {
            case format, tokenizer, characters
            case vocabularySize = "vocabulary_size"
        }
    }

    /// Reads `meta.json`.
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
        guard metadata.format == Self.formatVersion else {
            throw .invalidMetadata(
                file: path,
                reason: "format \(metadata.format), but this program reads format \(Self.formatVersion); prepare the data again")
        }
        switch (Kind(rawValue: metadata.tokenizer), metadata.characters) {
        case (.bytes, nil):
            self = .bytes
        case (.characters, let characters?):
            try self.init(characters: characters.unicodeScalars)
            guard characters.unicodeScalars.elementsEqual(self.characters ?? []) else {
                throw .invalidMetadata(file: path, reason: "\"characters\" must be sorted and name none twice")
            }
        case (nil, _):
            let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw .invalidMetadata(file: path, reason: "unknown tokenizer \"\(metadata.tokenizer)\"; known are \(known)")
        case (.bytes?, _), (.characters?, nil):
            throw .invalidMetadata(file: path, reason: "\"characters\" must be there for the tokenizer characters, and only for it")
        }
        guard metadata.vocabularySize == vocabularySize else {
            throw .invalidMetadata(
                file: path,
                reason: "\"vocabulary_size\" is \(metadata.vocabularySize), but the tokenizer has \(vocabularySize) tokens")
        }
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
                characters: characters == nil ? nil : String(text)))
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
