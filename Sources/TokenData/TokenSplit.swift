import Files
import Foundation

/// Writes a stream of tokens to two files: so many to the first, the rest to the second.
struct TokenSplit {
    private let training: NewFile
    private let validation: NewFile
    /// Bytes a token: 2 or 4.
    private let tokenBytes: Int
    /// Tokens that the first file still takes.
    private var remaining: Int

    init(training: NewFile, trainingTokens: Int, validation: NewFile, tokenBytes: Int) {
        self.training = training
        self.validation = validation
        self.tokenBytes = tokenBytes
        remaining = trainingTokens
    }

    mutating func append(_ tokens: [Int32]) throws(TokenDataError) {
        let head = tokens.prefix(remaining)
        remaining -= head.count
        let tail = tokens.dropFirst(head.count)
        try TokenDataError.writing { () throws(FileError) in
            try training.write(littleEndian(head))
            if !tail.isEmpty { try validation.write(littleEndian(tail)) }
        }
    }

    private func littleEndian(_ tokens: ArraySlice<Int32>) -> Data {
        tokenBytes == 2
            ? tokens.map { UInt16($0).littleEndian }.withUnsafeBytes { Data($0) }
            : tokens.map { UInt32($0).littleEndian }.withUnsafeBytes { Data($0) }
    }
}
