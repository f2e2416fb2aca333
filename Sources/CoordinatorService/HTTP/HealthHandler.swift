import FlyingFox
import Foundation

/// Answers `/livez`, `/readyz` and `/version`. The first two are those of Kubernetes
/// (https://kubernetes.io/docs/reference/using-api/health-checks/).
struct HealthHandler: Sendable {
    let health: Health

    func answer(to request: HTTPRequest) async -> HTTPResponse {
        switch request.target.path() {
        case "/livez": .text(.ok, "ok")
        case "/readyz": await readiness(isVerbose: request.query.contains { $0.name == "verbose" })
        case "/version": Self.version
        default: .text(.notFound, "there are /, /api/v1/runs, /metrics, /livez, /readyz?verbose and /version")
        }
    }

    private func readiness(isVerbose: Bool) async -> HTTPResponse {
        let checks = await health.checks()
        let isReady = checks.allSatisfy { $0.failure == nil }
        guard isVerbose || !isReady else { return .text(.ok, "ok") }
        let lines = checks.map { check in
            check.failure.map { "[-]\(check.name) failed: \($0)" } ?? "[+]\(check.name) ok"
        }
        return .text(
            isReady ? .ok : .serviceUnavailable,
            (lines + ["readyz check \(isReady ? "passed" : "failed")"]).joined(separator: "\n"))
    }

    private static var version: HTTPResponse {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings and integers can always be written.
        return .json(.ok, (try? encoder.encode(CoordinatorVersion.current)) ?? Data())
    }
}
