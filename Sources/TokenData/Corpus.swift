import Foundation

/// Texts whose tokens have been counted.
struct Corpus {
    let files: [String]
    let tokenizer: Tokenizer
    /// The tokenizer's `tokenizer.json`; only for `bpe`.
    let tokenizerFile: [UInt8]?
    /// Tokens of each file.
    private let counts: [Int]
    var tokens: Int { counts.reduce(0, +) }

    /// The first pass: counts the tokens and, for `characters`, collects what they stand for. `bpe` takes one before it, to learn.
    init(files: [String], source: TokenizerSource) throws(TokenDataError) {
        var counts = [Int]()
        switch source {
        case .bytes:
            for file in files {
                let reader = try TextReader(path: file)
                var count = 0
                while case let piece = try reader.next(), !piece.isEmpty { count += piece.count }
                counts.append(count)
            }
            (tokenizer, tokenizerFile) = (.bytes, nil)
        case .characters:
            var characters = Set<Unicode.Scalar>()
            for file in files {
                var count = 0
                try TextReader(path: file).forEachScalar { scalar in
                    characters.insert(scalar)
                    count += 1
                }
                counts.append(count)
            }
            (tokenizer, tokenizerFile) = (try Tokenizer(characters: characters), nil)
        case .bpe(let vocabularySize, let minimumFrequency):
            guard Tokenizer.vocabularySizes.contains(vocabularySize) else {
                throw .invalidVocabularySize(vocabularySize)
            }
            var trainer = BytePairTrainer()
            for file in files {
                try TextReader(path: file).forEachPart(cut: BytePairTokenizer.cutAfterLetter) {
                    (text) throws(TokenDataError) in
                    try trainer.add(text)
                }
            }
            let contents = trainer.train(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency).file()
            tokenizer = try Tokenizer(
                tokenizerFile: Tokenizer.tokenizerFileName, contents: contents, addsSpecialTokens: false)
            tokenizerFile = contents
            counts = try Self.count(files, tokenizer)
        case .file(let path, let addsSpecialTokens):
            let contents = try BytePairTokenizer.contents(ofFile: path)
            tokenizer = try Tokenizer(tokenizerFile: path, contents: contents, addsSpecialTokens: addsSpecialTokens)
            tokenizerFile = contents
            counts = try Self.count(files, tokenizer)
        }
        if let empty = zip(files, counts).first(where: { $0.1 == 0 }) {
            throw try TextReader(path: empty.0).next().isEmpty ? .emptyText(file: empty.0) : .removedText(file: empty.0)
        }
        self.files = files
        self.counts = counts
    }

    private static func count(_ files: [String], _ tokenizer: Tokenizer) throws(TokenDataError) -> [Int] {
        var encoder = FileEncoder(tokenizer)
        var counts = [Int]()
        for file in files {
            var count = 0
            try encoder.encode(file) { count += $0.count }
            counts.append(count)
        }
        return counts
    }

    /// The second pass: hands over the tokens in pieces.
    /// - Throws: `TokenDataError.changed` when a file gives other tokens than before.
    func encode(_ consume: ([Int32]) throws(TokenDataError) -> Void) throws(TokenDataError) {
        var encoder = FileEncoder(tokenizer)
        for (file, expected) in zip(files, counts) {
            var count = 0
            try encoder.encode(file) { (tokens) throws(TokenDataError) in
                count += tokens.count
                guard count <= expected else { throw .changed(file: file) }
                try consume(tokens)
            }
            guard count == expected else { throw .changed(file: file) }
        }
    }
}
