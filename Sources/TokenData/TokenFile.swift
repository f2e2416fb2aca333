import Foundation

/// A file of tokens: little-endian `uint16`, one after another, as nanoGPT and veScale have it, or `uint32` when the data's
/// `meta.json` says so (`Tokenizer.tokenBytes`).
///
/// The file is mapped into memory, so that the ranks of a node share one copy. `moe-ctl data prepare` replaces files by
/// renaming, so a mapped one stays whole while it is made anew.
public struct TokenFile: Sendable {
    public let path: String
    /// Number of tokens, at least one.
    public let count: Int
    /// Bytes a token, 2 or 4.
    public let tokenBytes: Int
    /// Bytes of the file.
    public var sizeBytes: Int { data.count }
    private let data: Data

    /// Maps the file and checks that every token is in 0 ..< `vocabularySize`, and below `metadataVocabularySize`.
    /// - Parameters:
    ///   - vocabularySize: the model's.
    ///   - metadataVocabularySize: that of the `meta.json` beside the file; nil: there is none.
    /// - Throws: `TokenDataError` when the file cannot be read, is empty, has half a token, or a token that the model or the
    ///   `meta.json` does not know.
    public init(
        path: String, vocabularySize: Int, metadataVocabularySize: Int? = nil, tokenBytes: Int = 2
    ) throws(TokenDataError) {
        precondition(tokenBytes == 2 || tokenBytes == 4, "tokens of \(tokenBytes) bytes")
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
        guard !data.isEmpty else { throw .empty(file: path) }
        guard data.count.isMultiple(of: tokenBytes) else {
            throw .oddSize(file: path, bytes: data.count, tokenBytes: tokenBytes)
        }
        self.path = path
        self.tokenBytes = tokenBytes
        count = data.count / tokenBytes
        let bound = min(vocabularySize, metadataVocabularySize ?? .max)
        let position = data.withUnsafeBytes { raw in
            tokenBytes == 2
                ? Self.firstToken(notBelow: bound, in: raw) : Self.firstWideToken(notBelow: bound, in: raw)
        }
        guard let position else { return }
        let token = Int(self[position])
        // Data that contradicts itself is not the model's fault.
        if let metadataVocabularySize, token >= metadataVocabularySize {
            throw .tokenOutsideMetadata(
                file: path, position: position, token: token, vocabularySize: metadataVocabularySize)
        }
        throw .tokenOutsideVocabulary(file: path, position: position, token: token, vocabularySize: vocabularySize)
    }

    /// The token at `index`, 0 ..< `count`.
    public subscript(index: Int) -> UInt32 {
        precondition(index >= 0 && index < count, "token \(index) of \(count)")
        return data.withUnsafeBytes { token(index, in: $0) }
    }

    @inline(__always)
    private func token(_ index: Int, in raw: UnsafeRawBufferPointer) -> UInt32 {
        tokenBytes == 2
            ? UInt32(UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
            : UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
    }

    /// Appends the `length` tokens from `start` on to `tokens`; after the last token follows the first again.
    /// - Parameter start: 0 ..< `count`.
    func append(from start: Int, length: Int, to tokens: inout [Int32]) {
        precondition(start >= 0 && start < count, "token \(start) of \(count)")
        data.withUnsafeBytes { raw in
            var index = start
            for _ in 0..<length {
                tokens.append(Int32(token(index, in: raw)))
                index += 1
                if index == count { index = 0 }
            }
        }
    }

    /// Hands `body` tokens that tell files apart, some thousand at a time: all of a small file, or else blocks of it, from the first to
    /// the last.
    package func sample(_ body: ([Int32]) -> Void) {
        let (blocks, length) = (256, 4096)
        let distance = count <= blocks * length ? length : (count - length) / (blocks - 1)
        var tokens = [Int32]()
        tokens.reserveCapacity(length)
        for start in stride(from: 0, to: count, by: distance).prefix(blocks) {
            tokens.removeAll(keepingCapacity: true)
            append(from: start, length: min(length, count - start), to: &tokens)
            body(tokens)
        }
    }

    /// Compares 32 tokens at a time; only the block with a finding is looked at token by token.
    private static func firstToken(notBelow bound: Int, in raw: UnsafeRawBufferPointer) -> Int? {
        guard bound <= Int(UInt16.max) else { return nil }
        let limit = UInt16(clamping: bound)
        let count = raw.count / 2
        func token(_ index: Int) -> UInt16 {
            UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
        }
        #if _endian(little)
            let limits = SIMD32<UInt16>(repeating: limit)
            var block = 0
            while block + 32 <= count {
                let tokens = raw.loadUnaligned(fromByteOffset: 2 * block, as: SIMD32<UInt16>.self)
                if any(tokens .>= limits) { break }
                block += 32
            }
        #else
            let block = 0
        #endif
        return (block..<count).first { token($0) >= limit }
    }

    private static func firstWideToken(notBelow bound: Int, in raw: UnsafeRawBufferPointer) -> Int? {
        // Tokens are Int32 in models.
        let limit = UInt32(max(0, min(bound, Int(Int32.max))))
        for index in 0..<raw.count / 4
        where UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)) >= limit {
            return index
        }
        return nil
    }
}
