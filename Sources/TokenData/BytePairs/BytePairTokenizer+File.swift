import Foundation

extension BytePairTokenizer {
    /// The largest `tokenizer.json` that is read; those of vocabularies of 262,144 tokens have 35 MB.
    static let maximumFileBytes = 256 << 20
    /// The most tokens, added ones included.
    static let maximumTokens = 1 << 20

    /// The bytes of a `tokenizer.json`.
    /// - Throws: `TokenDataError`, also for a larger one.
    static func contents(ofFile path: String) throws(TokenDataError) -> [UInt8] {
        let data: Data
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            data = try handle.read(upToCount: maximumFileBytes + 1) ?? Data()
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
        guard data.count <= maximumFileBytes else {
            throw .invalidMetadata(
                file: path, reason: "it has more than \(maximumFileBytes >> 20) MiB; no tokenizer.json has")
        }
        return [UInt8](data)
    }
}
