import Foundation
import Logging

/// Writes each record as one line with a JSON object: `time` (RFC 3339, UTC), `level`, `logger`, `message`, and `metadata` where
/// there is any.
public struct JSONLogHandler: LogHandler {
    public var metadata = Logger.Metadata()
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel = Logger.Level.notice

    private let label: String
    private let write: @Sendable (Data) -> Void

    /// - Parameter write: takes a line, from any thread.
    public init(label: String, write: @escaping @Sendable (Data) -> Void = Self.toStandardError) {
        self.label = label
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var metadata = metadata
        if let provided = metadataProvider?.get() { metadata.merge(provided) { _, new in new } }
        if let own = event.metadata { metadata.merge(own) { _, new in new } }
        if let error = event.error { metadata["error"] = "\(error)" }
        let record = Record(
            time: Date.now.formatted(Self.time), level: event.level.rawValue, logger: label,
            message: event.message.description, metadata: metadata.isEmpty ? nil : metadata.mapValues(Record.Value.init)
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings can always be written.
        guard let line = try? encoder.encode(record) else { return }
        write(line + Data("\n".utf8))
    }

    private static let time = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    /// In one piece, so that lines of several threads or ranks do not mix.
    public static let toStandardError: @Sendable (Data) -> Void = { line in
        // A reader that went away must not stop the program.
        line.withUnsafeBytes { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

private struct Record: Encodable {
    enum Value: Encodable {
        case text(String)
        case list([Value])
        case object([String: Value])

        init(_ value: Logger.MetadataValue) {
            switch value {
            case .string(let text): self = .text(text)
            case .stringConvertible(let value): self = .text(value.description)
            case .array(let values): self = .list(values.map(Value.init))
            case .dictionary(let values): self = .object(values.mapValues(Value.init))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .text(let text): try container.encode(text)
            case .list(let values): try container.encode(values)
            case .object(let values): try container.encode(values)
            }
        }
    }

    let time: String
    let level: String
    let logger: String
    let message: String
    let metadata: [String: Value]?
}
