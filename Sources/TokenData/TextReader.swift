import Foundation

/// Reads a file piece by piece, so that a corpus may be larger than memory.
struct TextReader {
    /// Bytes that are read at a time.
    private static let pieceBytes = 1 << 20

    let path: String
    private let handle: FileHandle

    /// - Throws: `TokenDataError.unreadable`, also for a directory.
    init(path: String) throws(TokenDataError) {
        do {
            handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
            throw .unreadable(file: path, reason: "it is a directory; name the files in it")
        }
        self.path = path
    }

    /// The next bytes; empty at the end.
    func next() throws(TokenDataError) -> [UInt8] {
        do {
            return [UInt8](try handle.read(upToCount: Self.pieceBytes) ?? Data())
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
    }

    /// Calls `body` with each Unicode scalar of the rest of the file, decoded from UTF-8.
    /// - Throws: `TokenDataError.invalidText` at the first byte sequence that is not UTF-8, and what `body` throws.
    func forEachScalar(_ body: (Unicode.Scalar) throws(TokenDataError) -> Void) throws(TokenDataError) {
        var parser = Unicode.UTF8.ForwardParser()
        var bytes = Bytes(reader: self)
        var position = 0
        while true {
            let result = parser.parseScalar(from: &bytes)
            if let failure = bytes.failure { throw failure }
            switch result {
            case .valid(let encoded):
                try body(Unicode.UTF8.decode(encoded))
                position += encoded.count
            case .emptyInput: return
            case .error: throw .invalidText(file: path, position: position)
            }
        }
    }

    /// The bytes one by one, as a parser wants them.
    private struct Bytes: IteratorProtocol {
        let reader: TextReader
        var piece = [UInt8]().makeIterator()
        /// Why the bytes ended early.
        var failure: TokenDataError?

        init(reader: TextReader) {
            self.reader = reader
        }

        mutating func next() -> UInt8? {
            if let byte = piece.next() { return byte }
            do {
                piece = try reader.next().makeIterator()
            } catch {
                failure = error
            }
            return piece.next()
        }
    }
}
