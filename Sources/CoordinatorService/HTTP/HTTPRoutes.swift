import ControlProtocol
import FlyingFox
import Foundation

/// Who answers a request over HTTP, and who gets an answer.
struct HTTPRoutes: Sendable {
    let health: HealthHandler
    let api: APIHandler
    let metrics: MetricsHandler
    let table: ConnectionTable
    let token: BearerToken?
    /// Where the server listens.
    let host: String

    static func isForAPI(_ request: HTTPRequest) -> Bool {
        request.target.path().hasPrefix("/api/")
    }

    func answer(to request: HTTPRequest) async -> HTTPAnswer {
        guard token != nil || isMeant(request.headers[.host]) else {
            let advice =
                "this host name is not the coordinator's: ask localhost, or give it a token (--http-token-file)"
            return .response(refusal(request, .misdirectedRequest, .forbidden, advice))
        }
        let file = DashboardFile.at(request.target.path())
        // The files of the page tell nothing; what it shows it has to ask for.
        if let token, file == nil, !token.isIn(request.headers[.authorization]) {
            var response = refusal(request, .unauthorized, .unauthenticated, "a bearer token is needed")
            response.headers[HTTPHeader("WWW-Authenticate")] = "Bearer realm=\"moe-coordinator\""
            return .response(response)
        }
        guard [.GET, .HEAD].contains(request.method) else {
            var response = refusal(
                request, .methodNotAllowed, .badRequest, "only GET and HEAD: nothing can be changed here")
            response.headers[HTTPHeader("Allow")] = "GET, HEAD"
            return .response(response)
        }
        if let file { return .response(file.response(to: request)) }
        if Self.isForAPI(request) { return await api.answer(to: request) }
        if request.target.path() == "/metrics" { return .response(await metrics.answer(http: table)) }
        return .response(await health.answer(to: request))
    }

    private func refusal(
        _ request: HTTPRequest, _ status: HTTPStatusCode, _ code: ControlError.Code, _ message: String
    ) -> HTTPResponse {
        Self.isForAPI(request)
            ? APIHandler.refusal(ControlError(code, message), status: status) : .text(status, message)
    }

    /// Whether somebody asked for this server. A page of another site may have its own name lead here (DNS rebinding), and would then
    /// read what only this machine may.
    private func isMeant(_ header: String?) -> Bool {
        // Browsers always send one.
        guard let header else { return true }
        if header.hasPrefix("[") { return header.hasPrefix("[::1]") }
        let name = header.prefix { $0 != ":" }.lowercased()
        let isLoopback = name.hasPrefix("127.") && name.utf8.allSatisfy { 0x30...0x39 ~= $0 || $0 == UInt8(ascii: ".") }
        return isLoopback || ["localhost", host.lowercased()].contains(name) || name.hasSuffix(".localhost")
    }
}
