import Foundation

/// Writes a trace line by line. The file appears when it is whole.
public final class TraceWriter {
    private let path: String
    private let partial: String
    private let handle: FileHandle
    private var isFinished = false
    /// Intervals so far.
    public private(set) var intervals = 0

    /// - Throws: `TraceError` when the file cannot be written.
    public init(path: String, header: TraceHeader) throws(TraceError) {
        self.path = path
        partial = path + ".partial"
        guard FileManager.default.createFile(atPath: partial, contents: nil),
            let handle = FileHandle(forWritingAtPath: partial)
        else { throw TraceError(path, "it cannot be written", remedy: "name a file in a folder that is there") }
        self.handle = handle
        do { try TraceCheck.check(header) } catch {
            try? FileManager.default.removeItem(atPath: partial)
            throw TraceError(path, "\(error)", remedy: "make a smaller trace")
        }
        try write(.header(header))
    }

    deinit {
        if !isFinished { try? FileManager.default.removeItem(atPath: partial) }
    }

    public func write(_ line: TraceLine) throws(TraceError) {
        if case .interval = line { intervals += 1 }
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try handle.write(contentsOf: encoder.encode(line) + Data([0x0A]))
        } catch {
            throw TraceError(path, "it cannot be written: \(error.localizedDescription)", remedy: "make room for it")
        }
    }

    /// Puts the file where it belongs, in place of what was there.
    public func finish() throws(TraceError) {
        do {
            try handle.synchronize()
            try handle.close()
        } catch {
            throw TraceError(path, "it cannot be written: \(error.localizedDescription)", remedy: "make room for it")
        }
        guard rename(partial, path) == 0 else {
            throw TraceError(path, "it cannot be put in place", remedy: "name a file in a folder that can be written")
        }
        isFinished = true
    }
}
