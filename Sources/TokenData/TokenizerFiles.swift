import Foundation

/// What a directory of token files, or of a model, says of its tokenizer.
public struct TokenizerFiles: Sendable {
    /// By their names, for copies: `meta.json`, with the `tokenizer.json` that it tells of, or a `tokenizer.json` alone; empty when
    /// there is neither.
    public let contents: [String: Data]
    /// Bytes a token in token files.
    public let tokenBytes: Int
    /// That token files keep to; nil without `meta.json`.
    public let vocabularySize: Int?

    /// - Throws: `TokenDataError` when `meta.json` is of no use. A `tokenizer.json` alone may be of a tokenizer that is not
    ///   supported: it is another program's.
    public init(directory: String) throws(TokenDataError) {
        let folder = URL(fileURLWithPath: directory)
        let metadata = folder.appending(path: Tokenizer.metadataFileName)
        let file = folder.appending(path: Tokenizer.tokenizerFileName)
        var urls = [URL]()
        if FileManager.default.fileExists(atPath: metadata.path) {
            let tokenizer = try Tokenizer(metadataFile: metadata.path)
            tokenBytes = tokenizer.tokenBytes
            vocabularySize = tokenizer.vocabularySize
            urls = tokenizer.kind == .bpe ? [metadata, file] : [metadata]
        } else {
            tokenBytes = 2
            vocabularySize = nil
            if FileManager.default.fileExists(atPath: file.path) { urls = [file] }
        }
        var contents = [String: Data]()
        for url in urls {
            do {
                contents[url.lastPathComponent] = try Data(contentsOf: url)
            } catch {
                throw .unreadable(file: url.path, reason: reason(of: error))
            }
        }
        self.contents = contents
    }
}
