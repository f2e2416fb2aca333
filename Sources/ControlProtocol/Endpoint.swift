/// A host and a port: `HOST:PORT`, where a host is a name, an IPv4 address or an IPv6 address in brackets.
public struct Endpoint: Hashable, Sendable {
    public let host: String
    public let port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// - Throws: `bad_request` that says what is expected.
    public init(_ text: String) throws(ControlError) {
        guard let endpoint = Self.parse(text) else {
            throw ControlError(.badRequest, "\"\(text)\" is no address; write HOST:PORT, or [IPV6]:PORT")
        }
        self = endpoint
    }

    private static func parse(_ text: String) -> Endpoint? {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...]), !text.hasSuffix("+\(port)")
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") || host.contains("[") {
            return nil
        }
        guard !host.isEmpty, host.utf8.count <= Limits.standard.hostNameBytes else { return nil }
        return Endpoint(host: String(host), port: port)
    }
}

extension Endpoint: CustomStringConvertible {
    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
