import ControlTestSupport
import Foundation

/// An HTTP request to this machine and its answer, over a plain socket.
struct HTTPQuestion {
    struct NoAnswer: Error {}

    let status: Int
    let head: String
    let body: String

    /// - Parameter raw: what to send instead of a request for `path`.
    init(
        _ path: String, port: UInt16?, method: String = "GET", headers: [String] = [], raw: String? = nil
    ) throws {
        let client = try PlainClient(port: port ?? 0)
        let lines = ["\(method) \(path) HTTP/1.1", "Host: localhost"] + headers
        try? client.send(Data((raw ?? lines.joined(separator: "\r\n") + "\r\n\r\n").utf8))
        try self.init(answerTo: client)
    }

    /// Reads until the server closes the connection.
    init(answerTo client: PlainClient) throws {
        var data = Data()
        while let byte = try Self.next(client) { data += byte }
        let text = String(decoding: data, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { throw NoAnswer() }
        head = String(text[..<end.lowerBound])
        body = String(text[end.upperBound...])
        status = head.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }

    private static func next(_ client: PlainClient) throws -> Data? {
        do { return try client.receive(1) } catch is PlainClient.Closed { return nil }
    }
}
