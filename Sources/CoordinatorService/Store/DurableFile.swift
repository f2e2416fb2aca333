import Foundation

/// What POSIX says of a file.
package struct FileError: Error, Hashable, CustomStringConvertible {
    package let path: String
    package let code: Int32

    /// With the code of the call that just failed.
    init(_ path: String) {
        self.path = path
        code = errno
    }

    package var description: String { "\(path): \(String(cString: strerror(code)))" }
}

/// Files that outlive a loss of power.
enum DurableFile {
    /// Makes an empty file, which only its owner may read.
    static func create(_ path: String) throws(FileError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError(path) }
        close(descriptor)
    }

    /// Waits until a file or directory is on the disk.
    /// - Returns: its size.
    @discardableResult
    static func sync(_ path: String) throws(FileError) -> Int {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fsync(descriptor) == 0, fstat(descriptor, &status) == 0 else { throw FileError(path) }
        return Int(status.st_size)
    }

    /// Whether there is a file: no directory, no device.
    static func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
