import ControlProtocol
import FlyingSocks
import Foundation
import Logging

/// Serves one client: its requests one after the other, each answered before the next is read.
struct Connection {
    let id: Int
    let socket: AsyncSocket
    let keys: AcceptedKeys
    let table: ConnectionTable
    let handler: RequestHandler
    let refusals: RefusalLog
    let limits: Limits

    /// Until the client goes, its time is over or the server stops.
    func serve() async {
        if !keys.isEmpty { table.setDeadline(id, after: limits.transferTime) }
        do {
            let (stream, roles) = try await SecureStream.accept(socket, keys: keys)
            await serve(stream, roles: roles)
        } catch let error as ControlError {
            // In the time that the handshake has left.
            await refuse(error, over: SecureStream(socket))
        } catch {
            // The client is gone, or was ended.
        }
        handler.rendezvous.leave(id)
        table.remove(id)
        try? socket.close()
    }

    private func serve(_ stream: SecureStream, roles: Set<ControlRole>) async {
        var held = 0
        do {
            var decoder = FrameDecoder(limits: limits)
            var isFirst = keys.isEmpty
            while !table.isStopping {
                // A frame that has begun keeps the deadline it got then, however slowly its bytes come; and a client that has
                // not shown its key yet keeps that of its handshake.
                let isBeginning = decoder.pendingBytes + stream.pendingBytes == 0 && stream.isConfirmed
                if isBeginning { table.setDeadline(id, after: limits.idleTime) }
                let bytes = try await stream.read()
                if isFirst, SecureStream.isHandshake(bytes) { throw ControlError.withoutKeys }
                isFirst = false
                if isBeginning { table.setDeadline(id, after: limits.transferTime) }
                decoder.append(bytes)
                let pending = decoder.pendingBytes + stream.pendingBytes
                guard table.hold(pending - held) else { throw ControlError.tooManyBytes(limits) }
                held = pending
                while let payload = try decoder.next() {
                    try await answer(payload, over: stream, roles: roles)
                    if table.isStopping { break }
                }
                let rest = decoder.pendingBytes + stream.pendingBytes
                _ = table.hold(rest - held)
                held = rest
            }
        } catch let error as ControlError {
            // What came is dropped, however long the client takes to hang up.
            _ = table.hold(-held)
            held = 0
            // Who repeats a handshake of somebody else gets no more time for it.
            if stream.isConfirmed { table.setDeadline(id, after: limits.transferTime) }
            await refuse(error, over: stream)
        } catch {
            // The client is gone, or was ended.
        }
        _ = table.hold(-held)
    }

    private func answer(_ payload: Data, over stream: SecureStream, roles: Set<ControlRole>) async throws {
        // The database may take its time, the client may not.
        table.setDeadline(id, after: nil)
        let (frame, heldBytes) = await admit(
            handler.answer(to: payload, from: Client(id: id, socket: socket), roles: roles))
        defer { _ = table.holdAnswer(-heldBytes) }
        table.setDeadline(id, after: limits.transferTime)
        Failpoint.reach(.beforeReply)
        try await stream.write(frame)
        Failpoint.reach(.afterReply)
    }

    /// What goes to the client, and how many bytes are counted for it until it is gone. When there is no room for what was read, a refusal
    /// takes its place, and the connection goes on.
    private func admit(_ answer: AnswerFrame) -> (frame: Data, heldBytes: Int) {
        let count = answer.bytes.count
        guard count > limits.smallAnswerBytes else { return (answer.bytes, 0) }
        guard !table.holdAnswer(count, always: answer.tellsOfChange) else { return (answer.bytes, count) }
        let error = ControlError.answerWithoutRoom(count, limits)
        refusals.add(error.code, from: socket)
        handler.metrics.refused(error.code)
        return (RequestHandler.frame(error, id: answer.requestID), 0)
    }

    /// Tells a client whose bytes cannot be followed any further, and waits until it hangs up: with bytes that nobody has read, the
    /// kernel would take the word back (RFC 9293, section 3.10.4).
    private func refuse(_ error: ControlError, over stream: SecureStream) async {
        refusals.add(error.code, from: socket)
        handler.metrics.refused(error.code)
        guard (try? await stream.write(RequestHandler.frame(error, id: nil))) != nil else { return }
        _ = Glibc.shutdown(socket.socket.file.rawValue, Int32(SHUT_WR))
        var left = limits.frameBytes
        while left > 0, let bytes = try? await socket.read(atMost: 1 << 16) { left -= bytes.count }
    }
}

extension ControlError {
    fileprivate static let withoutKeys = ControlError(
        .unsupported, "this coordinator has no keys; start it with --key-file, or connect without a key")

    fileprivate static func tooManyBytes(_ limits: Limits) -> ControlError {
        ControlError(
            .overloaded,
            "the coordinator holds \(limits.bufferedBytes) bytes of requests, and of answers that are not taken (buffered bytes); "
                + "try again later")
    }

    fileprivate static func answerWithoutRoom(_ bytes: Int, _ limits: Limits) -> ControlError {
        ControlError(
            .overloaded,
            "the answer has \(bytes) bytes, for which there is no room beside those that others have not taken yet: answers may have "
                + "half of the \(limits.bufferedBytes) buffered bytes; ask again later")
    }
}
