import Foundation

/// Makes `train.bin`, `val.bin` and `meta.json`, and `tokenizer.json` for `bpe`, out of texts.
public enum DataPreparation {
    /// What was made.
    public struct Summary: Sendable, Hashable, Codable {
        public var tokenizer: Tokenizer.Kind
        public var vocabularySize: Int
        public var trainingTokens: Int
        public var validationTokens: Int

        private enum CodingKeys: String, CodingKey {
            case tokenizer
            case vocabularySize = "vocabulary_size"
            case trainingTokens = "training_tokens"
            case validationTokens = "validation_tokens"
        }
    }

    /// Encodes `files`, one after another, and splits the tokens: the first ⌊n·(1 − fraction)⌋ of n are for training, the
    /// rest for validation, as nanoGPT's. Texts are streamed, in two passes: the first counts. A `bpe` tokenizer is learned in one
    /// before them.
    ///
    /// Each file appears whole, by renaming; `val.bin` is removed when there are no tokens for it.
    /// - Parameter output: the directory, which is made when it is not there.
    /// - Throws: `TokenDataError`; then the files that were there before are left as they were.
    public static func prepare(
        files: [String], output: String, tokenizer source: TokenizerSource, validationFraction: Double
    ) throws(TokenDataError) -> Summary {
        guard validationFraction >= 0, validationFraction < 1 else { throw .invalidFraction(validationFraction) }
        let corpus = try Corpus(files: files, source: source)
        let trainingTokens = Int((Double(corpus.tokens) * (1 - validationFraction)).rounded(.down))
        guard trainingTokens > 0 else {
            throw .noTrainingTokens(tokens: corpus.tokens, validationFraction: validationFraction)
        }
        let folder = URL(fileURLWithPath: output)
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw .unwritable(file: output, reason: reason(of: error))
        }
        var split = try TokenSplit(
            training: folder.appending(path: "train.bin").path, trainingTokens: trainingTokens,
            validation: folder.appending(path: "val.bin").path,
            validationTokens: corpus.tokens - trainingTokens, tokenBytes: corpus.tokenizer.tokenBytes)
        defer { split.discard() }
        try corpus.encode { (tokens) throws(TokenDataError) in try split.append(tokens) }
        let metadata = try NewFile(path: folder.appending(path: Tokenizer.metadataFileName).path)
        defer { metadata.discard() }
        do {
            try metadata.write(corpus.tokenizer.metadata())
        } catch {
            throw .unwritable(file: metadata.path, reason: reason(of: error))
        }
        try metadata.close()
        var tokenizer: NewFile?
        defer { tokenizer?.discard() }
        if let contents = corpus.tokenizerFile {
            tokenizer = try NewFile(path: folder.appending(path: Tokenizer.tokenizerFileName).path)
            try tokenizer?.write(Data(contents))
            try tokenizer?.close()
        }
        try split.commit()
        try tokenizer?.commit()
        try metadata.commit()
        return Summary(
            tokenizer: corpus.tokenizer.kind, vocabularySize: corpus.tokenizer.vocabularySize,
            trainingTokens: trainingTokens, validationTokens: corpus.tokens - trainingTokens)
    }
}
