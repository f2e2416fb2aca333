import Files
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
    /// The files appear whole, by renaming, and together: in between there is no `train.bin`. `val.bin` is removed when there are
    /// no tokens for it.
    /// - Parameter output: the directory, which is made when it is not there.
    /// - Throws: `TokenDataError`; then the files that were there before are left as they were. Only when the file system refuses
    ///   a new name after `train.bin` has gone, that stays away.
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
        let made = try DataFiles(folder: folder.path)
        var split = TokenSplit(
            training: made.training, trainingTokens: trainingTokens, validation: made.validation,
            tokenBytes: corpus.tokenizer.tokenBytes)
        try corpus.encode { (tokens) throws(TokenDataError) in try split.append(tokens) }
        let metadata: Data
        do {
            metadata = try corpus.tokenizer.metadata()
        } catch {
            throw .unwritable(file: made.metadata.path, reason: reason(of: error))
        }
        try TokenDataError.writing { () throws(FileError) in
            try made.metadata.write(metadata)
            if let contents = corpus.tokenizerFile { try made.tokenizer.write(Data(contents)) }
        }
        try made.commit(
            hasValidation: corpus.tokens > trainingTokens, hasTokenizer: corpus.tokenizerFile != nil)
        return Summary(
            tokenizer: corpus.tokenizer.kind, vocabularySize: corpus.tokenizer.vocabularySize,
            trainingTokens: trainingTokens, validationTokens: corpus.tokens - trainingTokens)
    }
}
