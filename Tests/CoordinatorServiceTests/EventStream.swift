import ControlTestSupport
import Foundation

/// Server-sent events over a plain socket.
final class EventStream {
    struct Event {
        let name: String
        let id: Int
        let data: JSONValue
    }

    let head: String
    private let client: PlainClient
    var descriptor: Int32 { client.descriptor }

    init(_ path: String, port: UInt16?, headers: [String] = []) throws {
        client = try PlainClient(port: port ?? 0)
        let lines = ["GET \(path) HTTP/1.1", "Host: localhost"] + headers
        // A server that has no room answers before, and hangs up.
        try? client.send(Data((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8))
        var head = Data()
        while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) { head += try client.receive(1) }
        self.head = String(decoding: head, as: UTF8.self)
    }

    /// The lines up to an empty one; nil: the server has closed the connection.
    func block() throws -> String? {
        var text = Data()
        do {
            while !text.suffix(2).elementsEqual("\n\n".utf8) { text += try client.receive(1) }
        } catch is PlainClient.Closed {
            return nil
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The next event, past comments; nil: the server has closed the connection.
    func next() throws -> Event? {
        while let block = try block() {
            var fields = [String: String]()
            for line in block.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                fields[String(parts[0])] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
            }
            guard let name = fields["event"], let id = fields["id"].flatMap({ Int($0) }), let data = fields["data"]
            else {
                continue
            }
            return Event(name: name, id: id, data: try JSONValue(Data(data.utf8)))
        }
        return nil
    }
}
