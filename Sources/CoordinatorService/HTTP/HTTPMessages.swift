import FlyingFox
import Foundation

extension HTTPRequest {
    /// Reads a request's line and headers (RFC 9112); nil: they are none. What follows them is left alone.
    init?(head: [UInt8]) {
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[1].hasPrefix("/"), words[2].hasPrefix("HTTP/1.") else {
            return nil
        }
        var headers = HTTPHeaders()
        for line in lines.dropFirst() where !line.isEmpty {
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else { return nil }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            headers.addValue(value, for: HTTPHeader(String(line[..<colon])))
        }
        let target = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(
            method: HTTPMethod(String(words[0])), version: HTTPVersion(String(words[2])),
            target: Target(path: String(target[0]), query: target.count > 1 ? String(target[1]) : ""),
            headers: headers, body: HTTPBodySequence())
    }
}

extension HTTPResponse {
    static func text(_ status: HTTPStatusCode, _ text: String) -> HTTPResponse {
        HTTPResponse(
            statusCode: status, headers: [.contentType: "text/plain; charset=utf-8"], body: Data((text + "\n").utf8))
    }

    static func json(_ status: HTTPStatusCode, _ body: Data) -> HTTPResponse {
        HTTPResponse(statusCode: status, headers: [.contentType: "application/json"], body: body)
    }

    /// As it goes over a connection that ends with it.
    /// - Parameter hasBody: false in answers to `HEAD`.
    func bytes(hasBody: Bool = true) async throws -> Data {
        let body = try await bodyData
        var headers = headers
        headers[.contentLength] = "\(body.count)"
        return head(headers) + (hasBody ? body : Data())
    }

    /// What goes before the body. No answer is of use to the pages of another site, or is what it does not say to be.
    func head(_ headers: HTTPHeaders) -> Data {
        var headers = headers
        headers[.connection] = "close"
        headers[.cacheControl] = headers[.cacheControl] ?? "no-store"
        headers[HTTPHeader("X-Content-Type-Options")] = "nosniff"
        headers[HTTPHeader("Cross-Origin-Resource-Policy")] = "same-origin"
        headers[HTTPHeader("Referrer-Policy")] = "no-referrer"
        let lines = headers.map { "\($0.key.rawValue): \($0.value)" }.sorted()
        let head = (["\(version.rawValue) \(statusCode.code) \(statusCode.phrase)"] + lines).joined(separator: "\r\n")
        return Data((head + "\r\n\r\n").utf8)
    }
}
