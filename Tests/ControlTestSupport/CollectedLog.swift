import Logging
import Synchronization

/// Keeps what is logged: the message, and the metadata in the order of their names.
public final class CollectedLog: Sendable {
    private let state = Mutex([String]())

    public init() {}

    public var lines: [String] { state.withLock { $0 } }

    public var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: CollectedLog
        var logLevel = Logger.Level.trace
        var metadata = Logger.Metadata()

        init(log: CollectedLog) { self.log = log }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
            log.state.withLock { $0.append("\(event.level) \(event.message)" + metadata.joined()) }
        }
    }
}
