import FlyingSocks
import Foundation
import Synchronization

/// The bytes of a connection: as they are, or in records encrypted with Noise. One task may read while another writes.
///
/// Every Noise message goes as its length, two bytes with the most significant first, and the message (Noise specification revision 34,
/// section 13). The stream in the records is the one that would go without a key, cut anywhere.
public final class SecureStream: Sendable {
    package static let prologue = Data("moe-control/1".utf8)
    static let headerBytes = 2
    /// The most that a Noise message can have (section 3), and what it then carries.
    package static let recordBytes = 65_535
    package static let payloadBytes = recordBytes - NoiseCipher.tagBytes

    private let socket: AsyncSocket
    private let isEncrypted: Bool
    private let sending: Mutex<NoiseCipher?>
    private let receiving: Mutex<RecordDecoder?>

    /// Bytes as they are.
    public init(_ socket: AsyncSocket) {
        self.socket = socket
        isEncrypted = false
        sending = Mutex(nil)
        receiving = Mutex(nil)
    }

    init(_ socket: AsyncSocket, _ transport: consuming NoiseTransport) {
        self.socket = socket
        isEncrypted = true
        sending = Mutex(transport.sending)
        receiving = Mutex(RecordDecoder(cipher: transport.receiving))
    }

    /// What came next; empty while a record is not whole.
    /// - Throws: `tampered` when a record does not open, and the stream is of no use then; what the socket throws.
    public func read() async throws -> [UInt8] {
        let bytes = try await socket.read(atMost: 1 << 16)
        guard isEncrypted else { return bytes }
        return try receiving.withLock { decoder throws(ControlError) in try decoder?.take(bytes) ?? [] }
    }

    public func write(_ data: Data) async throws {
        guard isEncrypted else { return try await socket.write(data) }
        var rest = data
        while !rest.isEmpty {
            let payload = rest.prefix(Self.payloadBytes)
            rest = rest.dropFirst(payload.count)
            let message = try sending.withLock { cipher throws(NoiseError) in try cipher?.seal(payload) ?? Data() }
            try await socket.write(Self.record(message))
        }
    }

    /// While no task reads or writes.
    public func close() {
        try? socket.close()
    }

    /// Bytes of a record that is not whole.
    public var pendingBytes: Int { receiving.withLock { $0?.pendingBytes ?? 0 } }

    /// Whether the other side has shown that it has the key, by a record that opened: a first message may be a repetition of
    /// somebody else's. Always so without encryption.
    public var isConfirmed: Bool { receiving.withLock { $0?.hasOpened ?? true } }

    /// A message behind its length.
    static func record(_ message: Data) -> Data {
        Data([UInt8(message.count >> 8), UInt8(message.count & 0xFF)]) + message
    }
}

/// Takes received bytes apart into records and opens them, wherever they were cut.
package struct RecordDecoder: ~Copyable, Sendable {
    private var cipher: NoiseCipher
    private var buffer: [UInt8] = []
    private(set) var hasOpened = false

    init(cipher: consuming NoiseCipher) {
        self.cipher = cipher
    }

    /// What the other side of `transport` sends.
    package init(_ transport: consuming NoiseTransport) {
        self.init(cipher: transport.receiving)
    }

    package var pendingBytes: Int { buffer.count }

    /// The payloads of the records that `bytes` complete.
    package mutating func take(_ bytes: [UInt8]) throws(ControlError) -> [UInt8] {
        buffer += bytes
        var payloads: [UInt8] = []
        var start = 0
        while buffer.count - start >= SecureStream.headerBytes {
            let message = start + SecureStream.headerBytes
            let end = message + Int(buffer[start]) << 8 + Int(buffer[start + 1])
            guard buffer.count >= end else { break }
            do {
                payloads += try cipher.open(buffer[message..<end])
            } catch {
                throw ControlError(
                    .tampered,
                    "a record was altered on its way, or was not made with the key of this connection, which is over")
            }
            start = end
            hasOpened = true
        }
        if start == buffer.count { buffer.forget() } else { buffer.removeFirst(start) }
        return payloads
    }
}
