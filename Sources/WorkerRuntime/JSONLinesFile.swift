import Foundation

/// A file to which a JSON line is appended for each event.
package final class JSONLinesFile {
    /// What is read at once of a file that is there.
    private static let blockBytes = 64 << 10

    private let handle: FileHandle
    private let path: String
    private let flag: String
    private let encoder = JSONEncoder()
    /// Whether a line that is added now would not be one with what was there before.
    private var isAtLineStart = false

    /// - Parameter flag: by which the user named the file, for errors.
    /// - Throws: `WorkerError` when the file cannot be opened for appending.
    package init(path: String, flag: String) throws {
        let descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw WorkerError.failed("cannot open \(path): \(String(cString: strerror(errno))); check \(flag)")
        }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        self.path = path
        self.flag = flag
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    /// Adds a line. Before the first one, a last line that a kill or a full disk has cut short goes, or ends where only its end is missing.
    /// - Throws: `WorkerError` when the file cannot be written.
    package func append(_ line: some Encodable) throws {
        do {
            // Not when the file is opened: the start of the run before may still be writing then.
            if !isAtLineStart { try removeTornLine() }
            isAtLineStart = true
            try handle.write(contentsOf: encoder.encode(line) + Data([0x0a]))
        } catch {
            throw WorkerError.failed("cannot write to \(path): \(error.localizedDescription); check \(flag)")
        }
    }

    private func removeTornLine() throws {
        var status = stat()
        // Terminals and pipes are written to and not looked into.
        guard fstat(handle.fileDescriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
        let size = Int(status.st_size)
        let end = try endOfLines(size: size)
        guard end < size else { return }
        // Lines are objects: what is none, or a whole one, was not cut short by this program.
        try handle.seek(toOffset: UInt64(end))
        let rest = try handle.readToEnd() ?? Data()
        guard rest.first == UInt8(ascii: "{") else { return }
        if (try? JSONSerialization.jsonObject(with: rest)) != nil {
            try handle.write(contentsOf: Data([0x0a]))
        } else {
            try handle.truncate(atOffset: UInt64(end))
        }
    }

    /// Bytes up to the end of the last whole line; 0 when there is none. Reads back to there, not the whole file.
    private func endOfLines(size: Int) throws -> Int {
        var end = size
        while end > 0 {
            let start = max(0, end - Self.blockBytes)
            try handle.seek(toOffset: UInt64(start))
            let block = try handle.read(upToCount: end - start) ?? Data()
            if let newline = block.lastIndex(of: 0x0a) { return start + newline - block.startIndex + 1 }
            end = start
        }
        return 0
    }
}
