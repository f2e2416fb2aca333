import ControlProtocol
import Foundation
import Synchronization

/// A server that takes one connection, or several in turn, and does what a script says, to see what clients make of it.
public final class ScriptedServer: Sendable {
    /// The connection, with blocking calls.
    public struct Connection {
        public let descriptor: Int32
        /// Of the server's connections, from 0.
        public let number: Int
        fileprivate let received: AsyncStream<Void>.Continuation

        /// The id of the next request.
        public func receiveID() throws -> Int {
            let length = try receive(4).reduce(0) { $0 << 8 | Int($1) }
            let message = try JSONValue(Data(receive(length)))
            received.yield()
            guard case .integer(let id)? = message["request_id"] else { throw PlainClient.Closed() }
            return id
        }

        public func answer(_ message: some ControlMessage, id: Int?) throws {
            try send(MessageCodec.frame(message, requestID: id))
        }

        public func send(_ data: Data) throws {
            let count = data.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count == data.count else { throw PlainClient.Failed(call: "send", code: errno) }
        }

        private func receive(_ count: Int) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            guard recv(descriptor, &bytes, count, Int32(MSG_WAITALL)) == count else { throw PlainClient.Closed() }
            return bytes
        }
    }

    public let port: UInt16
    private let listener: Listener
    private let receipts: AsyncStream<Void>

    /// - Parameter connections: each is taken when the script is through with the one before.
    public init(connections: Int = 1, script: @escaping @Sendable (Connection) throws -> Void) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) | listen(listener, 8) | getsockname(listener, pointer, &length)
            }
        }
        guard listener >= 0, result == 0 else { throw PlainClient.Failed(call: "listen", code: errno) }
        let (receipts, received) = AsyncStream.makeStream(of: Void.self)
        let guarded = Listener(descriptor: listener)
        self.listener = guarded
        self.receipts = receipts
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread {
            for number in 0..<connections {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { break }
                try? script(Connection(descriptor: descriptor, number: number, received: received))
                close(descriptor)
            }
            received.finish()
            guarded.close()
        }
    }

    deinit {
        // Ends the wait for a connection that never came; the thread then closes the socket.
        listener.interrupt()
    }

    /// A descriptor that is not touched after it was closed: its number may be another socket's then.
    private final class Listener: Sendable {
        private let descriptor: Mutex<Int32?>

        init(descriptor: Int32) {
            self.descriptor = Mutex(descriptor)
        }

        func interrupt() {
            descriptor.withLock { if let descriptor = $0 { _ = shutdown(descriptor, Int32(SHUT_RDWR)) } }
        }

        func close() {
            descriptor.withLock { descriptor in
                if let descriptor { _ = Glibc.close(descriptor) }
                descriptor = nil
            }
        }
    }

    /// Waits until the script has received its first request.
    public func received() async {
        for await _ in receipts { break }
    }
}
