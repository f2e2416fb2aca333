import Files
import Foundation

/// Writes a trace line by line. A file appears when it is whole.
public final class TraceWriter {
    private let path: String
    private let file: OutputFile
    /// Intervals so far.
    public private(set) var intervals = 0

    /// - Throws: `TraceError` when the file cannot be written.
    public init(path: String, header: TraceHeader) throws(TraceError) {
        self.path = path
        do { try TraceCheck.check(header) } catch {
            throw TraceError(path, "\(error)", remedy: "make a smaller trace")
        }
        file = try Self.telling { () throws(FileError) in try OutputFile(path) }
        try write(.header(header))
    }

    public func write(_ line: TraceLine) throws(TraceError) {
        if case .interval = line { intervals += 1 }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let text: Data
        do { text = try encoder.encode(line) } catch {
            throw TraceError(path, "it cannot be written: \(error)", remedy: "its numbers must be finite")
        }
        try Self.telling { () throws(FileError) in try file.write(text + Data([0x0A])) }
    }

    /// Puts the file where it belongs, in place of what was there.
    public func finish() throws(TraceError) {
        try Self.telling { () throws(FileError) in try file.finish() }
    }

    private static func telling<Result>(
        _ body: () throws(FileError) -> Result
    ) throws(TraceError) -> Result {
        do throws(FileError) { return try body() } catch {
            throw TraceError(error.path, "it cannot be written: \(error.reason)", remedy: error.remedy)
        }
    }
}
