import Foundation

/// The beginning of a regular file that somebody has named, and who may read it.
package struct SmallFile {
    package enum Failure: Error {
        /// The system's reason.
        case unreadable(String)
        case notRegular
    }

    package let bytes: [UInt8]
    private let mode: mode_t

    /// The permissions in octal digits, when others than the owner may read or write the file; nil: they may not.
    package var modeForOthers: String? { mode & 0o077 == 0 ? nil : "0" + String(mode & 0o777, radix: 8) }

    /// Reads `limit` bytes at the most.
    package init(_ path: String, limit: Int) throws(Failure) {
        // A pipe would make the program wait.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
        mode = status.st_mode
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = read(descriptor, &buffer, limit)
        guard count >= 0 else { throw .unreadable(String(cString: strerror(errno))) }
        bytes = Array(buffer.prefix(count))
    }
}
