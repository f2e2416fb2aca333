import FlyingFox
import Foundation

/// A file of the dashboard: part of the program, so that it is there wherever the program is.
struct DashboardFile: Sendable {
    private static let types = [
        "css": "text/css; charset=utf-8", "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    ]

    /// By name.
    private static let all: [String: DashboardFile] = Dictionary(
        uniqueKeysWithValues: DashboardResources.all.map { ($0.name, DashboardFile(name: $0.name, $0.bytes)) })

    /// - Parameter path: of a request: `/`, or `/dashboard/` and a name.
    static func at(_ path: String) -> DashboardFile? {
        if path == "/" { return all["index.html"] }
        let folder = "/dashboard/"
        return path.hasPrefix(folder) ? all[String(path.dropFirst(folder.count))] : nil
    }

    private let type: String
    private let bytes: Data
    private let tag: String

    private init(name: String, _ bytes: [UInt8]) {
        type = Self.types[String(name.split(separator: ".").last ?? "")] ?? "application/octet-stream"
        self.bytes = Data(bytes)
        // FNV-1a (https://datatracker.ietf.org/doc/html/draft-eastlake-fnv): files of two builds differ, and nobody forges them.
        let hash = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        tag = "\"\(String(hash, radix: 16))\""
    }

    /// The page runs and shows what comes from this server, and nothing else; no other page shows it (https://www.w3.org/TR/CSP3/).
    private static let policy =
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    func response(to request: HTTPRequest) -> HTTPResponse {
        let known = (request.headers[.ifNoneMatch] ?? "").split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        let isKnown = known.contains(tag) || known == ["*"]
        let headers: HTTPHeaders = [
            .contentType: type, .eTag: tag, .cacheControl: "no-cache",
            HTTPHeader("Content-Security-Policy"): Self.policy,
            HTTPHeader("Cross-Origin-Opener-Policy"): "same-origin",
        ]
        return HTTPResponse(
            statusCode: isKnown ? .notModified : .ok, headers: headers, body: isKnown ? Data() : bytes)
    }
}
