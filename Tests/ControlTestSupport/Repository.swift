import Foundation

/// Files of the repository that tests read.
public enum Repository {
    public static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    public static let schemas = root.appending(path: "schemas").resolvingSymlinksInPath()

    /// Set in the environment (`MOE_RECORD=1`) to write golden files anew instead of comparing with them.
    public static let isRecording = ProcessInfo.processInfo.environment["MOE_RECORD"] == "1"

    /// The text of a golden file, which is `actual` when recording.
    public static func golden(_ file: URL, actual: String) throws -> String {
        if isRecording {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try actual.write(to: file, atomically: true, encoding: .utf8)
        }
        return try String(contentsOf: file, encoding: .utf8)
    }
}

/// A folder for one test, gone when the value is.
public final class TemporaryFolder: Sendable {
    public let url: URL

    public init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "moe-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: url)
    }

    public func path(_ name: String) -> String { url.appending(path: name).path }
}
