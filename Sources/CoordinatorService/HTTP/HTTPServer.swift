import ControlProtocol
import FlyingFox
import FlyingSocks
import Foundation
import Logging

/// Tells over HTTP how the coordinator is and what it knows, on connections that are counted apart from those of the control
/// protocol.
///
/// Requests and answers are FlyingFox's. Its own server (0.27.1) knows no limit on headers, connections or the time that a
/// request takes, so connections are served here: one request each.
struct HTTPServer: Sendable {
    let table: ConnectionTable
    private let listener: Listener
    private let routes: HTTPRoutes
    private let refusals: RefusalLog
    private let metrics: CoordinatorMetrics
    private let limits: Limits
    private let logger: Logger

    init(
        _ configuration: HTTPConfiguration, health: Health, metrics: CoordinatorMetrics, handler: MetricsHandler,
        api: APIHandler, refusals: RefusalLog, limits: Limits, logger: Logger
    ) {
        listener = configuration.listener
        self.refusals = refusals
        self.metrics = metrics
        var limits = limits
        limits.connections = limits.httpConnections
        limits.idleTime = limits.httpTime
        self.limits = limits
        self.logger = logger
        table = ConnectionTable(limits: limits)
        routes = HTTPRoutes(
            health: HealthHandler(health: health), api: api, metrics: handler, table: table, token: configuration.token,
            host: listener.endpoint.host)
    }

    /// Until `stop` or cancellation. Closes the listening socket at the end.
    func run() async {
        let error = ControlError(
            .overloaded,
            "there are \(limits.httpConnections) connections already (HTTP connections); try again later")
        let busy = APIHandler.refusal(error, status: .serviceUnavailable)
        // Made now, sent later.
        let refusal = (try? await busy.bytes(at: nil)) ?? Data()
        let acceptor = Acceptor(
            listener: listener, table: table, logger: logger, refusal: refusal,
            countRefusal: { [metrics] in metrics.answered(busy.statusCode.code) }, willEnd: table.stop)
        await acceptor.run { id, socket in
            // The deadline that the connection got with its number is that of all it does, but for the API.
            try? await serve(id, socket)
            table.remove(id)
            try? socket.close()
        }
        await routes.metrics.finish()
    }

    func stop() {
        table.stop()
        listener.interrupt()
    }

    private func serve(_ id: Int, _ socket: AsyncSocket) async throws {
        switch try await readRequest(socket) {
        case .failure(let refusal): try await send(refusal.response, over: socket)
        case .success(let request):
            if HTTPRoutes.isForAPI(request) { table.setDeadline(id, after: limits.transferTime) }
            switch await routes.answer(to: request) {
            case .response(let response):
                if response.statusCode == .unauthorized { refusals.add(.unauthenticated, from: socket) }
                try await send(response, hasBody: request.method != .HEAD, over: socket)
            case .stream(let stream):
                guard table.makeStream(id) else {
                    let error = ControlError(
                        .overloaded, "there are \(limits.httpStreams) streams already (HTTP streams); try again later")
                    return try await send(APIHandler.refusal(error, status: .serviceUnavailable), over: socket)
                }
                metrics.answered(LiveStream.head.statusCode.code)
                try await send(stream, over: socket, id)
            }
        }
    }

    private struct Refusal: Error {
        let response: HTTPResponse
    }

    private func readRequest(_ socket: AsyncSocket) async throws -> Result<HTTPRequest, Refusal> {
        let end = Array("\r\n\r\n".utf8)
        var head = [UInt8]()
        while true {
            let searched = max(0, head.count - end.count + 1)
            head += try await socket.read(atMost: 4_096)
            let found = head[searched...].firstRange(of: end)?.lowerBound
            guard found ?? head.count <= limits.httpRequestBytes else {
                let error = ControlError(
                    .limitExceeded,
                    "a request may have \(limits.httpRequestBytes) bytes of headers (HTTP request bytes)")
                return .failure(Refusal(response: APIHandler.refusal(error, status: .requestHeaderFieldsTooLarge)))
            }
            guard let found else { continue }
            guard let request = HTTPRequest(head: Array(head[..<found])) else {
                let error = ControlError(.badRequest, "this is no request of HTTP/1")
                return .failure(Refusal(response: APIHandler.refusal(error, status: .badRequest)))
            }
            return .success(request)
        }
    }

    private func send(_ response: HTTPResponse, hasBody: Bool = true, over socket: AsyncSocket) async throws {
        var response = response
        var bytes = try await response.bytes(hasBody: hasBody)
        let isHeld = table.hold(bytes.count)
        defer { if isHeld { _ = table.hold(-bytes.count) } }
        if !isHeld {
            let error = ControlError(
                .overloaded,
                "\(limits.bufferedBytes) bytes of answers wait already (buffered bytes); try again later")
            response = APIHandler.refusal(error, status: .serviceUnavailable)
            bytes = try await response.bytes(hasBody: hasBody)
        }
        metrics.answered(response.statusCode.code)
        try await socket.write(bytes)
        // Closing a socket with bytes that nobody read would take the answer from the client (RFC 9112, section 9.6).
        shutdown(socket.socket.file.rawValue, Int32(SHUT_WR))
        while true { _ = try await socket.read(atMost: 4_096) }
    }

    /// Until the client goes, does not take an event in time, or the server stops.
    private func send(_ stream: LiveStream, over socket: AsyncSocket, _ id: Int) async throws {
        // What a client does not take waits here, and not in the kernel for long.
        var size: Int32 = 1 << 14
        setsockopt(socket.socket.file.rawValue, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        try await withThrowingTaskGroup { tasks in
            // There is nothing more to say for the client: it hangs up, or the table does.
            tasks.addTask { _ = try await socket.read(atMost: 1) }
            tasks.addTask {
                try await stream.run { bytes in
                    table.setDeadline(id, after: limits.httpTime)
                    try await socket.write(bytes)
                    table.setDeadline(id, after: nil)
                }
            }
            defer { tasks.cancelAll() }
            _ = try await tasks.next()
        }
    }
}
