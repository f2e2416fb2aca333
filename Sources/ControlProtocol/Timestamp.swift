import Foundation

/// A wall-clock moment, to the millisecond. RFC 3339 text in messages (`2026-11-24T17:47:33.125Z`).
public struct Timestamp: Hashable, Sendable, Comparable {
    /// Since 1970-01-01T00:00:00Z.
    public let milliseconds: Int64

    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// The moment this is called.
    public static func now() -> Timestamp {
        Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded()))
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// - Returns: nil when `text` is not of the form that `description` writes.
    public init?(_ text: String) {
        // Seconds go through Foundation, milliseconds do not: a `Date` cannot hold every one of them exactly.
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count == 4, parts[1].hasSuffix("Z"),
            let fraction = Int64(parts[1].dropLast()), (0..<1000).contains(fraction),
            let date = try? Date(String(parts[0]) + "Z", strategy: .iso8601)
        else { return nil }
        milliseconds = Int64(date.timeIntervalSince1970.rounded()) * 1000 + fraction
    }
}

extension Timestamp: CustomStringConvertible {
    public var description: String {
        let fraction = ((milliseconds % 1000) + 1000) % 1000
        let date = Date(timeIntervalSince1970: Double((milliseconds - fraction) / 1000))
        let digits = String(fraction)
        return date.formatted(.iso8601).dropLast() + "." + String(repeating: "0", count: 3 - digits.count) + digits
            + "Z"
    }
}

extension Timestamp: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = Timestamp(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is not a time")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
