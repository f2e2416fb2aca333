import Foundation

/// A file to which a JSON line is appended for each event.
package final class JSONLinesFile {
    private let handle: FileHandle
    private let path: String
    private let flag: String
    private let encoder = JSONEncoder()

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

    package func append(_ line: some Encodable) throws {
        do {
            try handle.write(contentsOf: encoder.encode(line) + Data([0x0a]))
        } catch {
            throw WorkerError.failed("cannot write to \(path): \(error.localizedDescription); check \(flag)")
        }
    }
}
