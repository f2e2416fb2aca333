import ControlProtocol
import ExpertPlacement
import Foundation

/// Reads a trace line by line; only one line is in memory.
public struct TraceReader {
    public let header: TraceHeader
    private var lines: LineReader

    private static let remedy = "moe-ctl trace record, import and generate write traces"

    /// - Parameter name: of the file, for errors.
    /// - Throws: `TraceError` when the first line is not that of a trace.
    public init(_ handle: FileHandle, name: String) throws(TraceError) {
        lines = LineReader(handle, name: name)
        guard case .header(let header)? = try Self.next(&lines, model: nil) else {
            throw TraceError(name, line: 1, "this is not the first line of a trace", remedy: Self.remedy)
        }
        self.header = header
    }

    /// - Throws: `TraceError` when there is no file, or no trace in it.
    public init(path: String) throws(TraceError) {
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw TraceError(path, "it cannot be read", remedy: "name a file that can")
        }
        try self.init(handle, name: path)
    }

    /// The next interval or plan; nil at the end.
    public mutating func next() throws(TraceError) -> TraceLine? {
        let line = try Self.next(&lines, model: header.model)
        if case .header = line {
            throw TraceError(
                lines.name, line: lines.number, "a second trace begins here", remedy: "cut the file in two")
        }
        return line
    }

    private static func next(_ lines: inout LineReader, model: ExpertModel?) throws(TraceError) -> TraceLine? {
        guard let text = try lines.next() else { return nil }
        do {
            let line = try JSONDecoder().decode(TraceLine.self, from: text)
            switch (line, model) {
            case (.header(let header), _): try TraceCheck.check(header)
            case (.interval(let interval), let model?): try TraceCheck.check(interval, of: model)
            case (.plan(let plan), let model?): try TraceCheck.check(plan, of: model)
            case (_, nil): break
            }
            return line
        } catch {
            throw TraceError(lines.name, line: lines.number, ControlError.brief(error), remedy: remedy)
        }
    }
}
