import ControlProtocol

/// A secret that HTTP clients send with each request (RFC 6750, section 2.1).
public struct BearerToken: Sendable {
    /// Bytes of a token. A shorter one could be guessed.
    static let lengths = 16...1_024

    private let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Reads a file that holds the token and nothing else, but for white space at its ends.
    /// - Throws: `BearerTokenError`, which says what to do and never what the file holds.
    public init(file path: String) throws(BearerTokenError) {
        let limit = Self.lengths.upperBound + 2
        let file: SmallFile
        do throws(SmallFile.Failure) {
            file = try SmallFile(path, limit: limit + 1)
        } catch {
            switch error {
            case .unreadable(let reason): throw .unreadable(path, reason)
            case .notRegular: throw .unreadable(path, "it is no file")
            }
        }
        guard file.modeForOthers == nil else {
            throw BearerTokenError(
                description: "others may read or write the token file \(path); make it yours alone: chmod 600 \(path)")
        }
        guard file.bytes.count <= limit else { throw .unreadable(path, "it is too long") }
        let isSpace: (UInt8) -> Bool = { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let token = Array(file.bytes.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
        // What may stand in a header as it is (token68 of RFC 9110, section 11.2, and other visible characters).
        guard Self.lengths.contains(token.count), token.allSatisfy({ 0x21...0x7E ~= $0 }) else {
            throw .unreadable(
                path,
                "a token has \(Self.lengths.lowerBound) to \(Self.lengths.upperBound) visible ASCII characters, "
                    + "as openssl rand -hex 32 makes them")
        }
        bytes = token
    }

    /// Whether `authorization`, the header of a request, has this token. Takes as long for a wrong one, wherever it differs.
    package func isIn(_ authorization: String?) -> Bool {
        let words = (authorization ?? "").split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer", !bytes.isEmpty else { return false }
        let given = Array(words[1].utf8)
        var difference = given.count ^ bytes.count
        for (index, byte) in given.enumerated() { difference |= Int(byte ^ bytes[index % bytes.count]) }
        return difference == 0
    }
}

/// Why a token file is of no use.
public struct BearerTokenError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    fileprivate static func unreadable(_ path: String, _ reason: String) -> BearerTokenError {
        BearerTokenError(description: "cannot use the token file \(path): \(reason)")
    }
}
