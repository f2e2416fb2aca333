import Foundation

/// Texts whose tokens have been counted.
struct Corpus {
    let files: [String]
    let tokenizer: Tokenizer
    /// Tokens of each file.
    private let counts: [Int]
    var tokens: Int { counts.reduce(0, +) }

    /// The first pass: counts the tokens and, for `characters`, collects what they stand for.
    init(files: [String], kind: Tokenizer.Kind) throws(TokenDataError) {
        var counts = [Int]()
        switch kind {
        case .bytes:
            for file in files {
                let reader = try TextReader(path: file)
                var count = 0
                while case let piece = try reader.next(), !piece.isEmpty { count += piece.count }
                counts.append(count)
            }
            tokenizer = .bytes
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
            tokenizer = try Tokenizer(characters: characters)
        }
        if let empty = zip(files, counts).first(where: { $0.1 == 0 }) {
            throw .emptyText(file: empty.0)
        }
        self.files = files
        self.counts = counts
    }

    /// The second pass: hands over the tokens in pieces.
    /// - Throws: `TokenDataError.changed` when a file gives other tokens than before.
    func encode(_ consume: ([UInt16]) throws(TokenDataError) -> Void) throws(TokenDataError) {
        for (file, expected) in zip(files, counts) {
            let reader = try TextReader(path: file)
            var count = 0
            func pass(_ tokens: [UInt16]) throws(TokenDataError) {
                count += tokens.count
                guard count <= expected else { throw .changed(file: file) }
                try consume(tokens)
            }
            switch tokenizer.kind {
            case .bytes:
                while case let piece = try reader.next(), !piece.isEmpty { try pass(piece.map { UInt16($0) }) }
            case .characters:
                var piece = [UInt16]()
                try reader.forEachScalar { (scalar) throws(TokenDataError) in
                    guard let token = try? tokenizer.token(of: scalar) else { throw .changed(file: file) }
                    piece.append(UInt16(token))
                    if piece.count == 1 << 19 {
                        try pass(piece)
                        piece.removeAll(keepingCapacity: true)
                    }
                }
                try pass(piece)
            }
            guard count == expected else { throw .changed(file: file) }
        }
    }
}
