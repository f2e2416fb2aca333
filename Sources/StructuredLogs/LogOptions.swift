import ArgumentParser
import Logging

/// Options about the log, which goes to standard error.
public struct LogOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "text, json (an object a line) or auto: text on a terminal, json otherwise.", valueName: "format"))
    public var logFormat = LogFormat.auto

    @Option(
        help: ArgumentHelp(
            "What is logged at least: trace, debug, info, notice, warning, error or critical.", valueName: "level"),
        transform: Self.level)
    public var logLevel = Logger.Level.notice

    public init() {}

    private static func level(_ text: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: text) else { throw ValidationError("there is no level \"\(text)\"") }
        return level
    }

    /// Makes this process's loggers write as the options say. Once a process.
    /// - Parameter isTerminal: whether a person reads the standard error.
    public func bootstrap(isTerminal: Bool) {
        let isText = logFormat == .text || (logFormat == .auto && isTerminal)
        let level = logLevel
        LoggingSystem.bootstrap { label in
            var handler: any LogHandler =
                isText ? StreamLogHandler.standardError(label: label) : JSONLogHandler(label: label)
            handler.logLevel = level
            return handler
        }
    }
}
