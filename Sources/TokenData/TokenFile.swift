import Foundation

/// A file of tokens: little-endian `uint16`, one after another, as nanoGPT and veScale have it.
///
/// The file is mapped into memory, so that the ranks of a node share one copy. `moe-ctl data prepare` replaces files by
/// renaming, so a mapped one stays whole while it is made anew.
public struct TokenFile: Sendable {
    public let path: String
    /// Number of tokens, at least one.
    public let count: Int
    private let data: Data

    /// Maps the file and checks that every token is in 0 ..< `vocabularySize`.
    /// - Throws: `TokenDataError` when the file cannot be read, is empty, has half a token, or a token that the model does
    ///   not know.
    public init(path: String, vocabularySize: Int) throws(TokenDataError) {
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
        guard !data.isEmpty else { throw .empty(file: path) }
        guard data.count.isMultiple(of: 2) else { throw .oddSize(file: path, bytes: data.count) }
        self.path = path
        count = data.count / 2
        if let position = data.withUnsafeBytes({ Self.firstToken(notBelow: vocabularySize, in: $0) }) {
            throw .tokenOutsideVocabulary(
                file: path, position: position, token: Int(self[position]), vocabularySize: vocabularySize)
        }
    }

    /// The token at `index`, 0 ..< `count`.
    public subscript(index: Int) -> UInt16 {
        precondition(index >= 0 && index < count, "token \(index) of \(count)")
        let offset = data.startIndex + 2 * index
        return UInt16(data[offset]) | UInt16(data[offset + 1]) << 8
    }

    /// Appends the `length` tokens from `start` on to `tokens`; after the last token follows the first again.
    /// - Parameter start: 0 ..< `count`.
    func append(from start: Int, length: Int, to tokens: inout [Int32]) {
        precondition(start >= 0 && start < count, "token \(start) of \(count)")
        data.withUnsafeBytes { raw in
            var index = start
            for _ in 0..<length {
                let token = raw.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                tokens.append(Int32(UInt16(littleEndian: token)))
                index += 1
                if index == count { index = 0 }
            }
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
}
