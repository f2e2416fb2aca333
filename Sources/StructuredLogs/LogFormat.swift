import ArgumentParser

/// How log records are written.
public enum LogFormat: String, CaseIterable, ExpressibleByArgument, Sendable {
    /// A line for people.
    case text
    /// A JSON object a line, for programs.
    case json
    /// `text` on a terminal, `json` otherwise.
    case auto
}
