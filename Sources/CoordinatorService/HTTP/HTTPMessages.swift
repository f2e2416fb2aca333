import ControlProtocol
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
    /// - Parameters:
    ///   - hasBody: false in answers to `HEAD`.
    ///   - time: when it goes; nil: not yet.
    func bytes(hasBody: Bool = true, at time: Timestamp? = .now()) async throws -> Data {
        let body = try await bodyData
        var headers = headers
        // That of the body that the client has (RFC 9110, section 8.6), which nobody has to be told.
        if statusCode != .notModified { headers[.contentLength] = "\(body.count)" }
        return head(headers, at: time) + (hasBody ? body : Data())
    }

    /// What goes before the body. No answer is of use to the pages of another site, or is what it does not say to be.
    func head(_ headers: HTTPHeaders, at time: Timestamp? = .now()) -> Data {
        var headers = headers
        // The page works out by it how old reports are.
        if let time { headers[HTTPHeader("Date")] = Self.date(time) }
        headers[.connection] = "close"
        headers[.cacheControl] = headers[.cacheControl] ?? "no-store"
        headers[HTTPHeader("X-Content-Type-Options")] = "nosniff"
        headers[HTTPHeader("Cross-Origin-Resource-Policy")] = "same-origin"
        headers[HTTPHeader("Referrer-Policy")] = "no-referrer"
        let lines = headers.map { "\($0.key.rawValue): \($0.value)" }.sorted()
        let head = (["\(version.rawValue) \(statusCode.code) \(statusCode.phrase)"] + lines).joined(separator: "\r\n")
        return Data((head + "\r\n\r\n").utf8)
    }

    /// As RFC 9110, section 5.6.7, has it.
    private static func date(_ time: Timestamp) -> String {
        var seconds = time_t(time.milliseconds / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + "\(number)" }
        let (day, month) = (days[Int(parts.tm_wday)], months[Int(parts.tm_mon)])
        let time = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(day), \(two(parts.tm_mday)) \(month) \(1900 + parts.tm_year) \(time) GMT"
    }
}
