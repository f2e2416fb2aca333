import Foundation

/// A file that a program was told to write, by what is at its path. A regular file, or none: one comes into being, whole or not
/// at all, and takes the place of the one before. A link stays, and what it leads to is written. Devices, pipes and the program's
/// own standard output get the bytes as they come.
package final class OutputFile {
    private static let linkLimit = 40

    private enum Target {
        case file(NewFile)
        /// What is written is there at once.
        case stream(FileHandle)
    }
    private let path: String
    private let target: Target

    /// - Throws: why nothing can be written there.
    package init(_ path: String) throws(FileError) {
        self.path = path.isEmpty ? "\"\"" : path
        var status = stat()
        let isThere = stat(path, &status) == 0
        guard isThere, let stream = Self.stream(path, status) else {
            do throws(FileError) {
                // Whoever could read the one before can read this one.
                target = .file(
                    try NewFile(path: try Self.end(of: path), mode: isThere ? status.st_mode & 0o777 : nil))
            } catch {
                throw FileError(self.path, error.code)
            }
            return
        }
        guard stream >= 0 else { throw FileError(self.path) }
        target = .stream(FileHandle(fileDescriptor: stream, closeOnDealloc: true))
    }

    /// Writes a text as a whole file.
    package static func write(_ text: String, to path: String) throws(FileError) {
        let file = try OutputFile(path)
        try file.write(Data(text.utf8))
        try file.finish()
    }

    package func write(_ bytes: Data) throws(FileError) {
        switch target {
        case .file(let file): try telling { () throws(FileError) in try file.write(bytes) }
        case .stream(let handle): try Descriptor.write(bytes, to: handle.fileDescriptor, name: path)
        }
    }

    /// Puts the file where it belongs, and waits until it is on the disk.
    package func finish() throws(FileError) {
        guard case .file(let file) = target else { return }
        try telling { () throws(FileError) in
            try file.sync()
            try file.commit()
            try FilePath.syncDirectory(FilePath.split(file.path).directory)
        }
    }

    /// With the path that was given, whatever it leads to.
    private func telling(_ body: () throws(FileError) -> Void) throws(FileError) {
        do throws(FileError) { try body() } catch { throw FileError(path, error.code) }
    }

    /// What is there, opened, when it is no regular file, or the program's standard output or error: putting another file in their
    /// place would cut them off. Nil: a file belongs there.
    private static func stream(_ path: String, _ status: stat) -> Int32? {
        for stream in [STDOUT_FILENO, STDERR_FILENO] {
            var own = stat()
            if fstat(stream, &own) == 0, own.st_dev == status.st_dev, own.st_ino == status.st_ino { return dup(stream) }
        }
        return status.st_mode & S_IFMT == S_IFREG ? nil : open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
    }

    /// The path at the end of the links that begin at `path`; there may be nothing.
    private static func end(of path: String) throws(FileError) -> String {
        var end = path
        for _ in 0..<linkLimit {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(end, &buffer, buffer.count)
            guard count >= 0 else { return end }
            let next = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            end = next.hasPrefix("/") ? next : "\(FilePath.split(end).directory)/\(next)"
        }
        throw FileError(path, ELOOP)
    }
}
