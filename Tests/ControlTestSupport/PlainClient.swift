import Foundation

/// A client written from `docs/protocol.md` alone: blocking sockets, and JSON as dictionaries. Shares no code with the
/// programs.
public final class PlainClient {
    public struct Closed: Error {}
    public struct Failed: Error {
        public let call: String, code: Int32

        /// The time that a read or write may take was over, and the server had not closed the connection.
        public var isTimeout: Bool { code == EAGAIN }
    }

    public let descriptor: Int32
    private var nextID = 0

    /// - Parameter timeout: seconds that a read or write may take.
    public init(port: UInt16, timeout: Int = 20) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failed(call: "socket", code: errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failed(call: "connect", code: errno) }
    }

    deinit {
        close(descriptor)
    }

    /// The payload of a request, with a new id.
    public func request(_ type: String, _ fields: [String: JSONValue] = [:]) -> JSONValue {
        nextID += 1
        let envelope: [String: JSONValue] = ["type": .string(type), "version": 1, "request_id": .integer(nextID)]
        return .object(envelope.merging(fields) { own, _ in own })
    }

    /// Sends a request and receives its answer.
    public func ask(_ type: String, _ fields: [String: JSONValue] = [:]) throws -> JSONValue {
        try send(Self.frame(request(type, fields).data))
        return try receive()
    }

    public static func frame(_ payload: Data) -> Data {
        var frame = Data()
        for shift in [24, 16, 8, 0] { frame.append(UInt8(payload.count >> shift & 0xFF)) }
        return frame + payload
    }

    public func send(_ bytes: Data) throws {
        var bytes = bytes
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw Failed(call: "send", code: errno) }
            bytes = bytes.dropFirst(count)
        }
    }

    public func receive() throws -> JSONValue {
        let length = try receive(4).reduce(0) { $0 << 8 | Int($1) }
        return try JSONValue(receive(length))
    }

    /// - Throws: `Closed` when the server closed the connection, `Failed` when time ran out.
    public func receive(_ count: Int) throws -> Data {
        var data = Data()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while data.count < count {
            let received = recv(descriptor, &buffer, min(buffer.count, count - data.count), 0)
            guard received != 0, !(received < 0 && errno == ECONNRESET) else { throw Closed() }
            guard received > 0 else { throw Failed(call: "recv", code: errno) }
            data.append(contentsOf: buffer[..<received])
        }
        return data
    }
}
