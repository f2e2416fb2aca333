/// Encodes files piece by piece.
struct FileEncoder {
    private let tokenizer: Tokenizer
    private var pairs: BytePairEncoder?

    init(_ tokenizer: Tokenizer) {
        self.tokenizer = tokenizer
        pairs = tokenizer.pairs.map { BytePairEncoder($0) }
    }

    /// Hands over the tokens of a file.
    /// - Throws: `TokenDataError`: `changed` for a character that the tokenizer was not made with.
    mutating func encode(
        _ file: String, _ consume: ([Int32]) throws(TokenDataError) -> Void
    ) throws(TokenDataError) {
        let reader = try TextReader(path: file)
        switch tokenizer.kind {
        case .bytes:
            while case let piece = try reader.next(), !piece.isEmpty { try consume(piece.map { Int32($0) }) }
        case .characters:
            var piece = [Int32]()
            try reader.forEachScalar { (scalar) throws(TokenDataError) in
                guard let token = try? tokenizer.token(of: scalar) else { throw .changed(file: file) }
                piece.append(token)
                if piece.count == 1 << 19 {
                    try consume(piece)
                    piece.removeAll(keepingCapacity: true)
                }
            }
            try consume(piece)
        case .bpe:
            let frame = tokenizer.frame
            var isEmpty = true
            try reader.forEachPart(cut: tokenizer.cut) { (text) throws(TokenDataError) in
                var tokens = isEmpty ? frame.before : []
                isEmpty = false
                try pairs?.encode(text, to: &tokens)
                try consume(tokens)
            }
            if !isEmpty { try consume(frame.after) }
        }
    }
}
