import ControlProtocol
import FlyingSocks
import Foundation
import Logging

/// Serves one client: its requests one after the other, each answered before the next is read.
struct Connection {
    let id: Int
    let socket: AsyncSocket
    let table: ConnectionTable
    let handler: RequestHandler
    let limits: Limits

    /// Until the client goes, its time is over or the server stops.
    func serve() async {
        var held = 0
        do {
            var decoder = FrameDecoder(limits: limits)
            while !table.isStopping {
                // A frame that has begun keeps the deadline it got then, however slowly its bytes come.
                if decoder.pendingBytes == 0 { table.setDeadline(id, after: limits.idleTime) }
                let isBeginning = decoder.pendingBytes == 0
                let bytes = try await socket.read(atMost: 1 << 16)
                if isBeginning { table.setDeadline(id, after: limits.transferTime) }
                guard table.hold(bytes.count) else { throw ControlError.tooManyBytes(limits) }
                held += bytes.count
                decoder.append(bytes)
                while let payload = try decoder.next() {
                    try await answer(payload)
                    if table.isStopping { break }
                }
                _ = table.hold(decoder.pendingBytes - held)
                held = decoder.pendingBytes
            }
        } catch let error as ControlError {
            // The stream cannot be followed any further.
            table.setDeadline(id, after: limits.transferTime)
            try? await socket.write(RequestHandler.frame(error, id: nil))
        } catch {
            // The client is gone, or was ended.
        }
        _ = table.hold(-held)
        table.remove(id)
        try? socket.close()
    }

    private func answer(_ payload: Data) async throws {
        // The database may take its time, the client may not.
        table.setDeadline(id, after: nil)
        let frame = await handler.answer(to: payload)
        table.setDeadline(id, after: limits.transferTime)
        try await socket.write(frame)
    }
}

extension ControlError {
    fileprivate static func tooManyBytes(_ limits: Limits) -> ControlError {
        ControlError(
            .overloaded,
            "the coordinator holds \(limits.bufferedBytes) bytes of requests (buffered bytes); try again later")
    }
}
