import Foundation

/// Reads a file piece by piece, so that a corpus may be larger than memory.
struct TextReader {
    /// Bytes that are read at a time.
    private static let pieceBytes = 1 << 20
    /// How large a part of a text becomes before it is cut.
    private static let partBytes = 1 << 22

    let path: String
    private let handle: FileHandle

    /// - Throws: `TokenDataError.unreadable`, also for what is not a regular file.
    init(path: String) throws(TokenDataError) {
        // Without waiting: opening a pipe would otherwise wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(file: path, reason: String(cString: strerror(errno))) }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw .unreadable(file: path, reason: String(cString: strerror(errno)))
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: self.path = path
        case S_IFDIR: throw .unreadable(file: path, reason: "it is a directory; name the files in it")
        default:
            throw .unreadable(
                file: path,
                reason: "it is not a regular file, and texts are read more than once; write it to a file and name that")
        }
    }

    /// The next bytes; empty at the end.
    func next() throws(TokenDataError) -> [UInt8] {
        do {
            return [UInt8](try handle.read(upToCount: Self.pieceBytes) ?? Data())
        } catch {
            throw .unreadable(file: path, reason: reason(of: error))
        }
    }

    /// Calls `body` with the rest of the file in parts, so that what is in memory stays bounded where `cut` finds places.
    /// - Parameters:
    ///   - cut: where a part may end, for the beginning of a text; nil when it may not yet.
    ///   - body: gets valid UTF-8.
    /// - Throws: `TokenDataError.invalidText` at the first byte sequence that is not UTF-8, and what `body` throws.
    func forEachPart(
        cut: (UnsafeBufferPointer<UInt8>) -> Int?,
        _ body: (UnsafeBufferPointer<UInt8>) throws(TokenDataError) -> Void
    ) throws(TokenDataError) {
        var part = [UInt8]()
        var position = 0
        var limit = Self.partBytes
        func pass(_ length: Int) throws(TokenDataError) {
            if let invalid = Self.firstInvalid(in: part[..<length]) {
                throw .invalidText(file: path, position: position + invalid)
            }
            try part.withUnsafeBufferPointer { (bytes) throws(TokenDataError) in
                try body(UnsafeBufferPointer(rebasing: bytes[..<length]))
            }
            part.removeFirst(length)
            position += length
        }
        while case let piece = try next(), !piece.isEmpty {
            part += piece
            guard part.count >= limit else { continue }
            if let length = part.withUnsafeBufferPointer(cut) {
                try pass(length)
                limit = Self.partBytes
            } else {
                // Looking again is worth it only when there is much more to look at.
                limit = 2 * part.count
            }
        }
        if !part.isEmpty { try pass(part.count) }
    }

    /// Where the first byte sequence begins that is not UTF-8; nil: all is.
    static func firstInvalid(in bytes: some Collection<UInt8>) -> Int? {
        if String(validating: bytes, as: UTF8.self) != nil { return nil }
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var position = 0
        while case .valid(let encoded) = parser.parseScalar(from: &iterator) { position += encoded.count }
        return position
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
