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
    /// As it goes over a connection that ends with it.
    /// - Parameter hasBody: false in answers to `HEAD`.
    func bytes(hasBody: Bool = true) async throws -> Data {
        let body = try await bodyData
        var headers = headers
        headers[.contentLength] = "\(body.count)"
        headers[.connection] = "close"
        headers[.cacheControl] = "no-store"
        let lines = headers.map { "\($0.key.rawValue): \($0.value)" }.sorted()
        let head = (["\(version.rawValue) \(statusCode.code) \(statusCode.phrase)"] + lines).joined(separator: "\r\n")
        return Data((head + "\r\n\r\n").utf8) + (hasBody ? body : Data())
    }
}
