import Foundation

/// Passes one encrypted connection on to a server, record by record, but for the first two records behind the handshake of one
/// direction.
public final class RecordProxy: Sendable {
    /// What becomes of the two, or of the first when it alone is named.
    public enum Trick: String, Sendable, CaseIterable {
        /// The first comes twice.
        case repeated
        case leftOut
        case swapped
        /// The first ends half-way, and so does the connection.
        case cutOff
        /// The first goes back to who sent it, and not on.
        case sentBack
    }

    private let server: ScriptedServer

    public var port: UInt16 { server.port }

    public init(to port: UInt16, playing trick: Trick, on direction: MeddlingProxy.Direction) throws {
        server = try ScriptedServer { client in
            let upstream = try PlainClient(port: port)
            var ends = [client.descriptor, upstream.descriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            let isMeddledWith = [direction == .toServer, direction == .toClient]
            var buffers = [[UInt8]](repeating: [], count: 2)
            var counts = [0, 0]
            var held: [UInt8] = []
            var bytes = [UInt8](repeating: 0, count: 1 << 16)
            func send(_ bytes: [UInt8], to end: Int) throws {
                if end == 0 { try client.send(Data(bytes)) } else { try upstream.send(Data(bytes)) }
            }
            while poll(&ends, 2, -1) > 0 {
                for from in 0..<2 where ends[from].revents != 0 {
                    let received = recv(ends[from].fd, &bytes, bytes.count, 0)
                    guard received > 0 else { return }
                    buffers[from] += bytes[..<received]
                    while let record = Self.takeRecord(from: &buffers[from]) {
                        let to = 1 - from
                        defer { counts[from] += 1 }
                        switch (isMeddledWith[from] ? trick : nil, counts[from]) {
                        case (.repeated, 1): try send(record + record, to: to)
                        case (.leftOut, 1): break
                        case (.swapped, 1): held = record
                        case (.swapped, 2): try send(record + held, to: to)
                        case (.cutOff, 1):
                            try send([UInt8](record.prefix(record.count / 2)), to: to)
                            return
                        case (.sentBack, 1): try send(record, to: from)
                        default: try send(record, to: to)
                        }
                    }
                }
            }
        }
    }

    /// The first whole record, with its length.
    private static func takeRecord(from buffer: inout [UInt8]) -> [UInt8]? {
        guard buffer.count >= 2 else { return nil }
        let count = 2 + Int(buffer[0]) << 8 + Int(buffer[1])
        guard buffer.count >= count else { return nil }
        defer { buffer.removeFirst(count) }
        return [UInt8](buffer[..<count])
    }
}
