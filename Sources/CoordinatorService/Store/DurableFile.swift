import Files
import Foundation

/// Files that outlive a loss of power.
package enum DurableFile {
    /// Makes an empty file, which only its owner may read.
    /// - Parameter exclusively: whether there must be none.
    static func create(_ path: String, exclusively: Bool = true) throws(FileError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (exclusively ? O_EXCL : 0), 0o600)
        guard descriptor >= 0 else { throw FileError(path) }
        close(descriptor)
    }

    /// Copies what a file holds, be it named by a link, to a new file, which only its owner may read.
    /// - Returns: its size.
    static func copy(_ path: String, to copy: String) throws(FileError) -> Int {
        // Not to wait for the writer of a pipe.
        let source = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard source >= 0 else { throw FileError(path) }
        defer { close(source) }
        var status = stat()
        guard fstat(source, &status) == 0 else { throw FileError(path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(path, EINVAL) }
        let target = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw FileError(copy) }
        defer { close(target) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var size = 0
        while true {
            let count = read(source, &buffer, buffer.count)
            guard count >= 0 else { throw FileError(path) }
            if count == 0 { break }
            var written = 0
            while written < count {
                let part = buffer[written..<count].withUnsafeBytes { write(target, $0.baseAddress, $0.count) }
                guard part > 0 else { throw FileError(copy) }
                written += part
            }
            size += count
        }
        guard fsync(target) == 0 else { throw FileError(copy) }
        return size
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

    /// `sync`, which may take long, outside of Swift's pool of threads, which the server needs.
    @discardableResult
    package static func syncOnThread(_ path: String) async throws -> Int {
        try await OwnThread.run { try sync(path) }
    }

    /// Whether there is a file: no directory, no device.
    static func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
