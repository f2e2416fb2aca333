import Foundation

/// A frame: four bytes of length, most significant first, then so many bytes of payload.
public enum Frame {
    public static let headerBytes = 4

    /// - Throws: `limit_exceeded` when the payload is longer than `Limits.frameBytes`.
    public static func encode(_ payload: Data, limits: Limits = .standard) throws(ControlError) -> Data {
        guard payload.count <= limits.frameBytes, let length = UInt32(exactly: payload.count) else {
            throw .frameTooLong(payload.count, limits: limits)
        }
        return frame(payload, length: length)
    }

    /// - Parameter payload: `length` bytes.
    static func frame(_ payload: some Collection<UInt8>, length: UInt32) -> Data {
        var frame = Data(capacity: headerBytes + Int(length))
        withUnsafeBytes(of: length.bigEndian) { frame.append(contentsOf: $0) }
        frame.append(contentsOf: payload)
        return frame
    }
}

/// Takes a byte stream apart into frames, wherever it was cut.
public struct FrameDecoder: Sendable {
    private let limits: Limits
    private var buffer: [UInt8] = []
    /// The first byte of `buffer` that no frame has taken.
    private var start = 0

    public init(limits: Limits = .standard) {
        self.limits = limits
    }

    /// Bytes of a frame that is not whole yet.
    public var pendingBytes: Int { buffer.count - start }

    /// Adds what was received; then call `next` until it returns nil.
    public mutating func append(_ bytes: some Collection<UInt8>) {
        if start == buffer.count {
            buffer.forget()
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The payload of the next whole frame; nil when more bytes are needed.
    /// - Throws: `limit_exceeded` as soon as a length is over the limit. The stream is of no use after that.
    public mutating func next() throws(ControlError) -> Data? {
        guard pendingBytes >= Frame.headerBytes else { return nil }
        let length = buffer[start..<start + Frame.headerBytes].reduce(0) { $0 << 8 | Int($1) }
        guard length <= limits.frameBytes else { throw .frameTooLong(length, limits: limits) }
        let end = start + Frame.headerBytes + length
        guard buffer.count >= end else { return nil }
        let payload = Data(buffer[start + Frame.headerBytes..<end])
        start = end
        if start == buffer.count {
            buffer.forget()
            start = 0
        } else if start >= 1 << 16 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        return payload
    }
}

extension [UInt8] {
    /// Removes all, and keeps no more memory than a small frame takes: thousands of connections have such a buffer.
    mutating func forget() { removeAll(keepingCapacity: capacity <= 1 << 11) }
}

extension ControlError {
    static func frameTooLong(_ bytes: Int, limits: Limits) -> ControlError {
        ControlError(
            .limitExceeded, "a frame of \(bytes) bytes is over the limit of \(limits.frameBytes) (frame bytes)")
    }
}
