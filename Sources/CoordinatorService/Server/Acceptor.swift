import ControlProtocol
import FlyingSocks
import Foundation
import Logging

/// Takes connections from a listening socket while their table has room, and serves each in a task of its own.
struct Acceptor {
    let listener: Listener
    let table: ConnectionTable
    let logger: Logger
    /// What a client is told when there are too many.
    let refusal: Data
    /// Counts those who are told so.
    let countRefusal: @Sendable () -> Void
    /// Stops the table, and what its connections may wait for.
    let willEnd: @Sendable () -> Void

    /// Until the table is told to stop, or cancellation. Returns when all connections have ended; closes the listening socket.
    /// - Parameter serve: serves the connection of that number, and ends by closing it.
    func run(_ serve: @escaping @Sendable (Int, AsyncSocket) async -> Void) async {
        await withDiscardingTaskGroup { connections in
            do {
                let socket = try AsyncSocket(socket: listener.socket, pool: SocketReadiness.shared)
                var backOff = AcceptBackOff(logger: logger)
                table.setAccepting(true)
                while !table.isStopping, !Task.isCancelled {
                    do {
                        let client = try await socket.accept()
                        backOff.succeeded()
                        if let id = admit(client) { connections.addTask { await serve(id, client) } }
                    } catch {
                        if table.isStopping { break }
                        table.setAccepting(!AcceptBackOff.isLasting(error))
                        try await backOff.failed(error)
                        continue
                    }
                    table.setAccepting(true)
                }
            } catch {
                logger.debug("accepting ended", metadata: ["reason": "\(error)"])
            }
            table.setAccepting(false)
            willEnd()
            listener.close()
        }
    }

    private func admit(_ client: AsyncSocket) -> Int? {
        guard let id = table.add(client.socket) else {
            countRefusal()
            // Fits the empty buffer of a fresh socket, so nobody waits.
            _ = try? client.socket.write(refusal)
            try? client.socket.close()
            return nil
        }
        // Answers are single small writes, which Nagle's algorithm would hold back.
        try? client.socket.setValue(true, for: BoolSocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY))
        // A machine that vanished says nothing; the kernel asks.
        try? client.socket.setValue(true, for: BoolSocketOption(name: SO_KEEPALIVE))
        return id
    }
}
