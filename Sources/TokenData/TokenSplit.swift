import Foundation

/// Writes a stream of tokens to two files: so many to the first, the rest to the second.
struct TokenSplit {
    private let training: NewFile
    /// Nil when there is nothing to write to it.
    private let validation: NewFile?
    private let validationPath: String
    /// Bytes a token: 2 or 4.
    private let tokenBytes: Int
    /// Tokens that the first file still takes.
    private var remaining: Int

    init(
        training: String, trainingTokens: Int, validation: String, validationTokens: Int, tokenBytes: Int
    ) throws(TokenDataError) {
        self.training = try NewFile(path: training)
        do {
            self.validation = validationTokens > 0 ? try NewFile(path: validation) : nil
        } catch {
            self.training.discard()
            throw error
        }
        validationPath = validation
        self.tokenBytes = tokenBytes
        remaining = trainingTokens
    }

    mutating func append(_ tokens: [Int32]) throws(TokenDataError) {
        let head = tokens.prefix(remaining)
        remaining -= head.count
        try training.write(littleEndian(head))
        let tail = tokens.dropFirst(head.count)
        if !tail.isEmpty { try validation?.write(littleEndian(tail)) }
    }

    /// Syncs and renames the files; a `val.bin` of earlier data does not stay beside a new `train.bin`.
    func commit() throws(TokenDataError) {
        try training.close()
        try validation?.close()
        if let validation {
            try validation.commit()
        } else {
            unlink(validationPath)
        }
        try training.commit()
    }

    /// Removes what was not committed.
    func discard() {
        training.discard()
        validation?.discard()
    }

    private func littleEndian(_ tokens: ArraySlice<Int32>) -> Data {
        tokenBytes == 2
            ? tokens.map { UInt16($0).littleEndian }.withUnsafeBytes { Data($0) }
            : tokens.map { UInt32($0).littleEndian }.withUnsafeBytes { Data($0) }
    }
}
