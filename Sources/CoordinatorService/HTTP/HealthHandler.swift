import FlyingFox
import Foundation

/// Answers `/livez`, `/readyz` and `/version`. The first two are those of Kubernetes
/// (https://kubernetes.io/docs/reference/using-api/health-checks/).
struct HealthHandler: HTTPHandler {
    let health: Health
    let token: BearerToken?

    func handleRequest(_ request: HTTPRequest) async -> HTTPResponse {
        if let token, !token.isIn(request.headers[.authorization]) {
            var response = Self.text(.unauthorized, "a bearer token is needed")
            response.headers[HTTPHeader("WWW-Authenticate")] = "Bearer realm=\"moe-coordinator\""
            return response
        }
        guard [.GET, .HEAD].contains(request.method) else {
            var response = Self.text(.methodNotAllowed, "only GET and HEAD: nothing can be changed here")
            response.headers[HTTPHeader("Allow")] = "GET, HEAD"
            return response
        }
        switch request.path {
        case "/livez": return Self.text(.ok, "ok")
        case "/readyz": return await readiness(isVerbose: request.query.contains { $0.name == "verbose" })
        case "/version": return Self.version
        default: return Self.text(.notFound, "there are /livez, /readyz?verbose and /version")
        }
    }

    private func readiness(isVerbose: Bool) async -> HTTPResponse {
        let checks = await health.checks()
        let isReady = checks.allSatisfy { $0.failure == nil }
        guard isVerbose || !isReady else { return Self.text(.ok, "ok") }
        let lines = checks.map { check in
            check.failure.map { "[-]\(check.name) failed: \($0)" } ?? "[+]\(check.name) ok"
        }
        return Self.text(
            isReady ? .ok : .serviceUnavailable,
            (lines + ["readyz check \(isReady ? "passed" : "failed")"]).joined(separator: "\n"))
    }

    private static var version: HTTPResponse {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings and integers can always be written.
        let body = (try? encoder.encode(CoordinatorVersion.current)) ?? Data()
        return HTTPResponse(statusCode: .ok, headers: [.contentType: "application/json"], body: body)
    }

    static func text(_ status: HTTPStatusCode, _ text: String) -> HTTPResponse {
        HTTPResponse(
            statusCode: status, headers: [.contentType: "text/plain; charset=utf-8"], body: Data((text + "\n").utf8))
    }
}
