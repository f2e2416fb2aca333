import ControlProtocol
import ExpertPlacement
import Foundation
import Glibc

/// Answers `moe-ctl` with what a test wants to be shown: one connection after another, on a thread.
final class CtlStubCoordinator: Sendable {
    /// Thrown instead of an answer, it closes the connection.
    static let hangUp = ControlError(.connectionClosed, "")

    let address: String
    private let listener: Int32
    private let isAway: Bool
    private let answer: @Sendable (AnyRequest) throws(ControlError) -> any ControlMessage

    /// - Parameters:
    ///   - isAway: refuses connections, on a port that nothing else gets meanwhile.
    ///   - answer: what to answer to a request, or the error to answer with.
    init(
        isAway: Bool = false, _ answer: @escaping @Sendable (AnyRequest) throws(ControlError) -> any ControlMessage
    ) throws {
        self.answer = answer
        self.isAway = isAway
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(listener, name, length) == 0 && getsockname(listener, name, &length) == 0
                    && (isAway || listen(listener, 16) == 0)
            }
        }
        guard bound else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        address = "127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        if isAway { return }
        let thread = Thread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { break }
                try? self.serve(connection)
                close(connection)
            }
            // Not before: the number may be another socket's then, which this thread would accept from.
            close(listener)
        }
        thread.start()
    }

    /// Ends the thread, after the connection that it serves.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        if isAway { close(listener) }
    }

    private func serve(_ connection: Int32) throws {
        let incoming = FileHandle(fileDescriptor: connection, closeOnDealloc: false)
        // A frame is its length, four bytes from the highest on, and so many bytes.
        while let header = try incoming.read(upToCount: 4), header.count == 4 {
            let length = header.reduce(0) { $0 << 8 | Int($1) }
            guard let payload = try incoming.read(upToCount: length) else { return }
            let request = MessageCodec.request(payload)
            let frame: Data
            do {
                frame = try MessageCodec.frame(answer(request.request.get()), requestID: request.requestID)
            } catch {
                if error == Self.hangUp { return }
                frame = try MessageCodec.frame(ErrorReply(error), requestID: request.requestID)
            }
            try send(frame, over: connection)
        }
    }

    private func send(_ frame: Data, over connection: Int32) throws {
        var rest = frame[...]
        while !rest.isEmpty {
            // Without a signal when the other side has gone.
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            rest = rest.dropFirst(count)
        }
    }
}
