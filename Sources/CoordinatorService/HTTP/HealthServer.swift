import ControlProtocol
import FlyingFox
import FlyingSocks
import Foundation
import Logging

/// Tells over HTTP how the coordinator is, on connections that are counted apart from those of the control protocol.
///
/// Requests and answers are FlyingFox's. Its own server (0.27.1) knows no limit on headers, connections or the time that a
/// request takes, so connections are served here: one request each.
struct HealthServer: Sendable {
    let table: ConnectionTable
    private let listener: Listener
    private let handler: HealthHandler
    private let refusals: RefusalLog
    private let limits: Limits
    private let logger: Logger

    init(
        _ configuration: HTTPConfiguration, health: Health, refusals: RefusalLog, limits: Limits, logger: Logger
    ) {
        listener = configuration.listener
        self.refusals = refusals
        handler = HealthHandler(health: health, token: configuration.token)
        var limits = limits
        limits.connections = limits.httpConnections
        limits.idleTime = limits.httpTime
        self.limits = limits
        self.logger = logger
        table = ConnectionTable(limits: limits)
    }

    /// Until `stop` or cancellation. Closes the listening socket at the end.
    func run() async {
        let busy = HealthHandler.text(
            .serviceUnavailable, "there are \(limits.httpConnections) connections already (HTTP connections)")
        let refusal = (try? await busy.bytes()) ?? Data()
        let acceptor = Acceptor(
            listener: listener, table: table, logger: logger, refusal: refusal, willEnd: table.stop)
        await acceptor.run { id, socket in
            // The deadline that the connection got with its number is that of all it does.
            try? await serve(socket)
            table.remove(id)
            try? socket.close()
        }
    }

    func stop() {
        table.stop()
        listener.interrupt()
    }

    private func serve(_ socket: AsyncSocket) async throws {
        try await socket.write(answer(to: socket))
        // Closing a socket with bytes that nobody read would take the answer from the client (RFC 9112, section 9.6).
        shutdown(socket.socket.file.rawValue, Int32(SHUT_WR))
        while true { _ = try await socket.read(atMost: 4_096) }
    }

    private func answer(to socket: AsyncSocket) async throws -> Data {
        let end = Array("\r\n\r\n".utf8)
        var head = [UInt8]()
        while true {
            let searched = max(0, head.count - end.count + 1)
            head += try await socket.read(atMost: 4_096)
            let found = head[searched...].firstRange(of: end)?.lowerBound
            guard found ?? head.count <= limits.httpRequestBytes else {
                return try await HealthHandler.text(
                    .requestHeaderFieldsTooLarge,
                    "a request may have \(limits.httpRequestBytes) bytes of headers (HTTP request bytes)"
                ).bytes()
            }
            guard let found else { continue }
            guard let request = HTTPRequest(head: Array(head[..<found])) else {
                return try await HealthHandler.text(.badRequest, "this is no request of HTTP/1").bytes()
            }
            let response = await handler.handleRequest(request)
            if response.statusCode == .unauthorized { refusals.add(.unauthenticated, from: socket) }
            return try await response.bytes(hasBody: request.method != .HEAD)
        }
    }
}
