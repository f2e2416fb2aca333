import ControlProtocol
import Foundation

/// A client's connection: frames as they are, or in records of Noise.
final class Channel {
    let descriptor: Int32
    private var transport: NoiseTransport?
    /// Of a record that is not whole.
    private var received: [UInt8] = []
    /// Of a frame that is not whole.
    private var opened: [UInt8] = []

    init(port: UInt16, key: ControlKey?) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw BenchmarkError.system("connect") }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        if let key { transport = try shakeHands(key) }
    }

    deinit { close(descriptor) }

    private func shakeHands(_ key: ControlKey) throws -> NoiseTransport {
        var handshake = NoiseHandshake(key: key.bytes, prologue: SecureStream.prologue)
        try write(Self.record(handshake.write()))
        var answer = [UInt8](repeating: 0, count: 2 + NoiseHandshake.messageBytes)
        guard recv(descriptor, &answer, answer.count, Int32(MSG_WAITALL)) == answer.count else {
            throw BenchmarkError("no answer to the handshake")
        }
        _ = try handshake.read(Data(answer.dropFirst(2)))
        return handshake.finish()
    }

    func send(_ frame: [UInt8]) throws {
        if let message = try transport?.sending.seal(frame) {
            try write(Self.record(message))
        } else {
            try write(frame)
        }
    }

    private static func record(_ message: Data) -> [UInt8] {
        [UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message
    }

    private func write(_ bytes: [UInt8]) throws {
        // What one client has under way is always smaller than an empty buffer.
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw BenchmarkError.system("send")
        }
    }

    /// Receives once, through `buffer`.
    /// - Returns: the frame that became whole, with its length in front; nil when none did.
    func receive(_ buffer: inout [UInt8], mayWait: Bool = false) throws -> [UInt8]? {
        let count = recv(descriptor, &buffer, buffer.count, mayWait ? 0 : Int32(MSG_DONTWAIT))
        guard count > 0 else { throw BenchmarkError("the server closed a connection") }
        if transport == nil {
            opened += buffer[..<count]
        } else {
            received += buffer[..<count]
            try open()
        }
        guard opened.count >= 4, opened.count >= 4 + opened[..<4].reduce(0, { $0 << 8 | Int($1) }) else { return nil }
        defer { opened.removeAll(keepingCapacity: true) }
        return opened
    }

    private func open() throws {
        while received.count >= 2 {
            let end = 2 + Int(received[0]) << 8 + Int(received[1])
            guard received.count >= end else { break }
            if let payload = try transport?.receiving.open(received[2..<end]) { opened += payload }
            received.removeFirst(end)
        }
    }
}
